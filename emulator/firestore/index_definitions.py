"""`firestore.indexes.json`: the TTL policies in it (and, with a later version, its indexes)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class IndexDefinitions:
    """What the file says. `ttl_fields` maps a collection ID to the field after which its documents expire."""

    ttl_fields: dict[str, str]

    @classmethod
    def load(cls, path: Path | None) -> IndexDefinitions:
        """The definitions in a file; none without one.

        Raises:
            ValueError: the file is not what the Firebase command line takes; the message says where.
        """
        if path is None:
            return cls({})
        try:
            content = json.loads(Path(path).read_text())
            overrides = content.get("fieldOverrides", [])
            return cls(
                {one["collectionGroup"]: one["fieldPath"] for one in overrides if one.get("ttl") is True}
            )
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} is no firestore.indexes.json: expected an object with a list `fieldOverrides` of objects "
                f"with `collectionGroup` and `fieldPath`: {error!r}"
            ) from error
