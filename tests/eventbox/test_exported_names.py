"""What users may import, and what may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dsset
import emulator.firestore
import eventbox
import eventbox.log
import eventbox.sources
import eventbox.tasks
import eventbox.testing

ROOT = Path(eventbox.__file__).parents[1]


def test_eventbox_exports_these_names() -> None:
    assert eventbox.__all__ == [
        "Clock", "ContentionError", "DocumentChange", "DocumentProcessor", "DrainReport", "EmitError", "Event",
        "EventBox", "EventboxError", "Mutation", "NewEvent", "PostProcessFn", "PrepareError", "Processor",
        "QuarantinedEvent", "Receipt", "Recipient", "SideEffectFn", "SkipTransition", "Snapshot", "SystemClock",
        "Transaction", "TransactionEndedError", "Transition", "UnknownOutcomeError", "chain", "listen",
    ]  # fmt: skip


def test_the_package_itself_is_imported_at_once_and_what_it_exports_when_it_is_asked_for() -> None:
    code = (
        "import eventbox, eventbox.cli, sys; heavy = {'grpc', 'google.cloud.firestore', 'pydantic', 'rich'};"
        "assert not heavy & set(sys.modules); eventbox.EventBox; assert 'EventBox' in dir(eventbox);"
        "sys.exit(not heavy & set(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="module 'eventbox' has no attribute 'nothing'"):
        eventbox.nothing  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "eventbox.tasks",
        "eventbox.box",
        "eventbox.log",
        "eventbox.quarantine",
        "eventbox.dev",
        "eventbox.sources",
    ],
)
def test_any_module_may_be_imported_first(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def test_dsset_exports_these_names() -> None:
    assert dsset.__all__ == [
        "AddError", "Clock", "DSSet", "DSSetError", "Item", "ItemState", "ListedItem", "Listing", "SystemClock",
    ]  # fmt: skip


def test_the_log_exports_these_names() -> None:
    assert eventbox.log.__all__ == [
        "EventLog", "EventPersistence", "FollowerOverview", "LogEntry", "LogEvent", "LogOverview",
        "MalformedEntryError", "NewLogEntry", "PairStatistics", "TransientEntries", "TrimmedError",
        "filter_events_by_kind", "join_events",
    ]  # fmt: skip


def test_the_tasks_export_these_names() -> None:
    assert eventbox.tasks.__all__ == [
        "Auth", "CloudLoggingFormatter", "DropTask", "EnqueueError", "RunScope", "SweepReport", "Sweeper", "Task",
        "TaskQueue", "TaskRequest", "WakeUp", "Worker", "tasks_client",
    ]  # fmt: skip


def test_the_sources_export_these_names() -> None:
    assert eventbox.sources.__all__ == [
        "KV", "BoxWriter", "Broadcaster", "Committer", "DistributedLock", "EventStore", "FunctionWriter",
        "Ingestor", "InvalidCommitError", "KVItem", "Leader", "ListenFunc", "ListenerError",
        "ListenerManager", "ListenerStore", "Lock", "LockError", "LockHeldError", "LockLostError",
        "LogWriter", "Pointer", "Progress", "QuorumVotes", "Result", "Service", "StoredEvent", "VoteStore",
        "Writer", "events_ingestor_name", "get_listener", "history_ingestor_name", "load_listeners",
        "register_listener", "registered_listeners", "run", "stored_event_id",
    ]  # fmt: skip
    code = "import eventbox.sources, sys; sys.exit(any(name in sys.modules for name in ('rich', 'httpx', 'emulator')))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_others_export_these_names() -> None:
    assert emulator.firestore.__all__ == [
        "Counts", "Emulator", "Fault", "Faults", "InvalidLine", "Latency", "PendingFault",
    ]  # fmt: skip
    assert eventbox.testing.__all__ == ["ManualClock"]


@pytest.mark.parametrize(
    "module",
    [dsset, eventbox, eventbox.log, eventbox.sources, eventbox.tasks, emulator.firestore, eventbox.testing],
)
def test_every_exported_name_is_there_and_has_a_docstring(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        exported = getattr(module, name)
        if isinstance(exported, type):
            assert exported.__doc__, name


def test_every_error_derives_from_one() -> None:
    names = [name for name in eventbox.__all__ if name.endswith("Error") or name == "SkipTransition"]
    assert all(issubclass(getattr(eventbox, name), eventbox.EventboxError) for name in names)


def _imports(package: str, *, without: tuple[str, ...] = ()) -> set[str]:
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        if path.relative_to(ROOT / package).parts[0] in without:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found


def test_dependencies_point_one_way() -> None:
    assert not _imports("dsset") & {"eventbox", "emulator", "opentelemetry", "pydantic"}
    assert not _imports("emulator") & {"eventbox", "dsset"}
    assert "emulator" not in _imports("eventbox", without=("testing", "cli", "demo", "dev"))


def test_the_library_uses_opentelemetrys_api_alone() -> None:
    code = "import eventbox, sys; sys.exit('opentelemetry.sdk' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
