"""Lines of documents, as an export writes them and an import takes them."""

from __future__ import annotations

import io
import json
from typing import Any

from emulator.firestore import Emulator

DOCUMENTS = "projects/demo/databases/(default)/documents"


def exported(emulator: Emulator) -> str:
    target = io.StringIO()
    emulator.export_documents(target)
    return target.getvalue()


def line(path: str = "a/1", **content: Any) -> str:
    return json.dumps({"name": f"{DOCUMENTS}/{path}", **content}) + "\n"
