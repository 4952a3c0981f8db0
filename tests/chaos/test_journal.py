"""`Journal` and `Journals`."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.acts import Act, Order
from tests.chaos.journal import Journal, Journals
from tests.chaos.producing import is_forgotten, unfinished


def test_each_line_is_read_once_and_in_order(tmp_path: Path) -> None:
    journal, journals = Journal(tmp_path, "a", 1), Journals(tmp_path)
    journal.write("up")
    journal.write("intended", id="x")
    first = journals.new()
    journal.write("acknowledged", id="x")
    second = journals.new()
    journal.close()
    assert [(one.who, one.life, one.what) for one in first] == [("a", 1, "up"), ("a", 1, "intended")]
    assert [(one.what, one["id"]) for one in second] == [("acknowledged", "x")]
    assert journals.new() == []


def test_a_line_that_was_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a", 1)
    journal.write("up")
    journal.close()
    with (tmp_path / "a.0001.jsonl").open("a") as file:
        file.write('{"at": 1, "what": "inten')
    assert [one.what for one in Journals(tmp_path).new()] == ["up"]


def test_the_journals_of_one_process_are_those_of_all_its_lives_and_no_others(tmp_path: Path) -> None:
    for who, life in (("a", 1), ("a", 2), ("ab", 1)):
        journal = Journal(tmp_path, who, life)
        journal.write("up")
        journal.close()
    assert [(one.who, one.life) for one in Journals(tmp_path, "a").new()] == [("a", 1), ("a", 2)]


def test_a_producer_goes_on_with_what_it_has_begun_and_forgets_half_of_that(tmp_path: Path) -> None:
    acts = [Act(f"p.{n}", "emit", [Order(f"p.{n}.0", "accounts/0", "note")]) for n in range(20)]
    journal = Journal(tmp_path, "p", 1)
    for act in acts:
        journal.write("intended", act=act.told())
    journal.write("acknowledged", id="p.0", duplicates=[])
    journal.close()
    found = unfinished(Journals(tmp_path).new())
    assert found == [act for act in acts[1:] if not is_forgotten(act)]
    assert 0 < len(found) < 19
