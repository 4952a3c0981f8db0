"""`Committer`: how far each ingestor has come, one document each, which only the holder of its lock can move on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random, SystemRandom
from typing import Any, TypeAlias

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.async_client import AsyncClient

from dsset import protos
from dsset.clock import Clock, SystemClock
from dsset.retry import is_transient
from eventbox.errors import UnknownOutcomeError
from eventbox.sources.errors import InvalidCommitError
from eventbox.sources.versioned_document import Found, SupersededError, VersionedDocument

COMMITS = "eventbox_commits"
"""The collection of the ingestors' places; none of its fields is indexed."""

MAX_POINTER_BYTES = 1_024
_MAX_NAME_BYTES = 1_024
_TIMEOUT = timedelta(minutes=1)

Pointer: TypeAlias = bytes
"""A position in a feed: opaque, at most 1,024 bytes; a later one compares as greater."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What the document of an ingestor says."""

    latest: Pointer | None
    token: int  # 0: nobody has claimed it
    commit: bytes  # which commit was the last
    version: Any | None


class Committer:
    """Keeps the latest committed block of each ingestor.

        await committer.claim("transfers", lock.token)
        await committer.commit("transfers", await committer.latest("transfers"), block, token=lock.token)

    A commit is carried out once or not at all: it bears the version of the ingestor's document, from the last commit
    or claim of this object, as its precondition, so it needs no read. Once a holder has claimed an ingestor, commits
    with a smaller token are refused, in the very write that would carry them out.

    Args:
        client: an AsyncClient.
        clock: what it waits by between attempts.
        rng: where nonces and jitter come from; the operating system by default.

    One object may serve any number of ingestors; the commits of one ingestor follow each other.
    """

    def __init__(self, client: AsyncClient, *, clock: Clock | None = None, rng: Random | None = None) -> None:
        if not isinstance(client, AsyncClient):
            raise TypeError(
                f"client must be a google.cloud.firestore.AsyncClient, not {type(client).__name__}"
            )
        self._client = client
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()
        self._places: dict[str, _Place] = {}

    async def latest(self, ingestor: str) -> Pointer | None:
        """The latest committed block, as it is now; None before the first. 1 RPC, 1 read."""
        return (await self._read(check_name(ingestor))).latest

    async def claim(self, ingestor: str, token: int) -> None:
        """Let nobody with a smaller token, or with none, commit from now on. Claiming again changes nothing.

        Raises:
            InvalidCommitError: a holder with a larger token has claimed it.
            GoogleAPICallError: Firestore refused it, or did not answer for a minute.

        Cost: 2 RPCs, 1 read, 1 write.
        """
        check_name(ingestor)
        _check_token(token)
        while True:
            place = await self._read(ingestor)
            if place.token > token:
                raise InvalidCommitError(_fenced(ingestor, token, place.token))
            try:
                if await self._replace(ingestor, place, replace(place, token=token)):
                    return
            except SupersededError:
                continue  # look whether it is ours now

    async def commit(
        self, ingestor: str, parent: Pointer | None, block: Pointer, *, token: int | None = None
    ) -> None:
        """Make `block` the latest one: `parent` must be the latest so far, and `block` greater than that.

        The first commit of an ingestor is always valid. A token is remembered as if it had been claimed.

        Raises:
            TypeError, ValueError: a pointer is not bytes, or too long; nothing was sent.
            InvalidCommitError: it does not follow the latest block, or a larger token has been claimed; nothing
                happened.
            UnknownOutcomeError: the answer was lost, and others have committed since, or did not answer for a minute.
            GoogleAPICallError: Firestore refused it; nothing happened.

        Cost: 1 RPC and 1 write; 1 RPC and 1 read more for the first of this object, and after somebody else's.
        """
        check_name(ingestor)
        if parent is not None:
            check_pointer("parent", parent)
        check_pointer("block", block)
        if token is not None:
            _check_token(token)
        commit = self._rng.randbytes(16)
        place = self._places.get(ingestor)
        fresh = place is None
        while True:
            if place is None:
                place = await self._read(ingestor)
            refusal = _refusal(ingestor, place, parent, block, token)
            if refusal is None:
                new = _Place(block, max(place.token, token or 0), commit, None)
                if await self._commit(ingestor, place, new):
                    return
            elif fresh:
                raise InvalidCommitError(refusal)
            place, fresh = None, True  # what we knew was out of date

    async def _commit(self, ingestor: str, place: _Place, new: _Place) -> bool:
        """Whether it was carried out; False if it surely was not."""
        try:
            return await self._replace(ingestor, place, new)
        except SupersededError as error:
            try:
                now = await self._read(ingestor)
            except GoogleAPICallError as unread:
                self._places.pop(ingestor, None)
                raise self._not_answered(ingestor) from unread
            if now.commit == new.commit:  # ours, and claimed since
                return True
            if (
                now.latest == place.latest
            ):  # claimed only, before ours came; ours cannot be carried out any more
                return False
            raise UnknownOutcomeError(
                f"the answer to a commit of {ingestor!r} was lost, and others have committed since"
            ) from error.__cause__
        except GoogleAPICallError as error:
            self._places.pop(ingestor, None)
            if not is_transient(error):
                raise
            raise self._not_answered(ingestor) from error

    @staticmethod
    def _not_answered(ingestor: str) -> UnknownOutcomeError:
        return UnknownOutcomeError(
            f"a commit of {ingestor!r} was not answered; look at its latest block before you go on"
        )

    async def _read(self, ingestor: str) -> _Place:
        place = _place(await self._document(ingestor).read(_TIMEOUT))
        self._places[ingestor] = place
        return place

    async def _replace(self, ingestor: str, place: _Place, new: _Place) -> bool:
        fields = {
            "ingestor": protos.Value(string_value=ingestor),
            "token": protos.Value(integer_value=new.token),
            "commit": protos.Value(bytes_value=new.commit),
        }
        if new.latest is not None:
            fields["latest"] = protos.Value(bytes_value=new.latest)
        version = await self._document(ingestor).replace(fields, place.version, _TIMEOUT)
        if version is None:
            self._places.pop(ingestor, None)
            return False
        self._places[ingestor] = replace(new, version=version)
        return True

    def _document(self, ingestor: str) -> VersionedDocument:
        return VersionedDocument(self._client, COMMITS, ingestor, clock=self._clock, rng=self._rng)


def check_name(ingestor: object) -> str:
    """The ingestor's name; TypeError or ValueError if it is none."""
    if not isinstance(ingestor, str):
        raise TypeError(f"an ingestor's name must be a str, not {type(ingestor).__name__}")
    if not 1 <= len(ingestor.encode()) <= _MAX_NAME_BYTES:
        raise ValueError(
            f"an ingestor's name must have 1 to {_MAX_NAME_BYTES:,} bytes of UTF-8: {ingestor!r:.100}"
        )
    return ingestor


def check_pointer(what: str, pointer: object) -> None:
    """TypeError or ValueError unless it is a pointer."""
    if not isinstance(pointer, bytes):
        raise TypeError(
            f"{what} must be a pointer, which is bytes, not {type(pointer).__name__}: {pointer!r:.100}"
        )
    if len(pointer) > MAX_POINTER_BYTES:
        raise ValueError(f"{what} has {len(pointer):,} bytes; a pointer has at most {MAX_POINTER_BYTES:,}")


def _refusal(
    ingestor: str, place: _Place, parent: Pointer | None, block: Pointer, token: int | None
) -> str | None:
    """Why the commit is not valid; None if it is."""
    if (token or 0) < place.token:
        return _fenced(ingestor, token, place.token)
    if place.latest is None:
        return None
    if parent != place.latest:
        return f"block {block!r} of {ingestor!r} has the parent {parent!r}, but the latest block is {place.latest!r}"
    if block <= parent:
        return f"block {block!r} of {ingestor!r} does not come after its parent {parent!r}"
    return None


def _fenced(ingestor: str, token: int | None, claimed: int) -> str:
    return (
        f"a newer holder of the lock has claimed {ingestor!r}, with token {claimed}; "
        + ("a commit without a token" if token is None else f"token {token}")
        + " is too old"
    )


def _place(found: Found) -> _Place:
    return _Place(found.bytes("latest"), found.integer("token"), found.bytes("commit") or b"", found.version)


def _check_token(token: object) -> None:
    if not isinstance(token, int) or isinstance(token, bool):
        raise TypeError(f"token must be an int, not {type(token).__name__}")
    if not 0 < token < 2**63:
        raise ValueError(f"token must be positive and fit 64 bits, not {token}")
