"""The ledger of decisions on labels: what its lines mean, and how it survives people, merges and kills."""

import multiprocessing
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.download import ledger
from darkroom.download.ledger import Decision

CAT, DOG = "c" * 32, "d" * 32


def line(md5=CAT, decision="relabel", label="cat", author="Ada", minute=0, note=""):
    return Decision(md5, decision, label, author, f"2026-01-31T12:{minute:02d}:00Z", note)


def write(path, *lines):
    for each in lines:
        ledger.append(path, each)
    return path


def test_what_is_added_is_read(tmp_path):
    lines = [
        line(label="=1+1", note='a comma, a "quote" and a <b>'),
        line(DOG, "drop", "", "Grace <grace@example.org>", 1),
        line(DOG, "revert", "", minute=2),
    ]
    assert ledger.read(write(tmp_path / "decisions.csv", *lines)) == lines
    assert "'=1+1" in (tmp_path / "decisions.csv").read_text()  # a spreadsheet would evaluate it


def test_without_a_ledger_nothing_was_decided(tmp_path):
    assert ledger.read(tmp_path / "decisions.csv") == []
    (tmp_path / "decisions.csv").write_text("")
    assert ledger.read(tmp_path / "decisions.csv") == []


@given(st.lists(st.tuples(st.sampled_from([CAT, DOG]), st.sampled_from(ledger.KINDS), st.integers(0, 59)), max_size=8))
def test_the_latest_line_holds_in_whatever_order_a_merge_leaves_them(drawn):
    lines = [line(md5, kind, "cat" if kind in ledger.WITH_LABEL else "", minute=minute) for md5, kind, minute in drawn]
    ordered = sorted(set(lines), key=lambda each: (each.time, each))
    expected = {}
    for each in ordered:
        expected[each.md5] = each
        if each.decision == "revert":
            del expected[each.md5]
    assert ledger.holding(ordered) == expected


def test_times_of_other_zones_are_compared_as_times(tmp_path):
    early = line(label="cat")._replace(time="2026-01-31T13:30:00+02:00")
    late = line(label="dog")._replace(time="2026-01-31T12:00:00Z")
    assert ledger.read(write(tmp_path / "d.csv", late, early)) == [early, late]


def test_two_people_contradict_each_other_until_one_agrees_or_reverts():
    both = [line(label="cat", author="Ada"), line(label="dog", author="Grace", minute=1)]
    assert ledger.contradictions(both) == {CAT: both}
    assert ledger.holding(both)[CAT].label == "dog"
    assert ledger.contradictions([*both, line(label="dog", author="Ada", minute=2)]) == {}
    assert ledger.contradictions([*both, line(decision="revert", label="", minute=2)]) == {}
    dropped = line(decision="drop", label="", author="Grace", minute=1)
    assert ledger.contradictions([both[0], dropped]) == {CAT: [both[0], dropped]}
    assert ledger.contradictions([both[0], line(decision="confirm", label="cat", author="Grace")]) == {}


FAULTS = {
    "row 1: md5 is 'xyz'": "xyz,drop,,Ada,2026-01-31T12:00:00Z,",
    "row 1: decision is 'keep'": f"{CAT},keep,,Ada,2026-01-31T12:00:00Z,",
    "row 1: label '../../etc' cannot be the name of a folder": f"{CAT},relabel,../../etc,Ada,2026-01-31T12:00:00Z,",
    "row 1: label '.hidden' cannot be": f"{CAT},relabel,.hidden,Ada,2026-01-31T12:00:00Z,",
    "row 1: label '' is empty": f"{CAT},confirm,,Ada,2026-01-31T12:00:00Z,",
    "row 1: drop takes no label": f"{CAT},drop,cat,Ada,2026-01-31T12:00:00Z,",
    "row 1: time is 'today'": f"{CAT},drop,,Ada,today,",
    "row 1: time is '2026-01-31T12:00:00'": f"{CAT},drop,,Ada,2026-01-31T12:00:00,",
    "row 1 has 3 of 6 cells": f"{CAT},relabel,ca",
    "line 2: delete git's mark of a conflict": "<<<<<<< HEAD",
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_line_that_is_no_decision_is_named(message, tmp_path):
    (tmp_path / "d.csv").write_text("md5,decision,label,author,time,note\n" + FAULTS[message] + "\n")
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        ledger.read(tmp_path / "d.csv")


def test_other_files_are_named(tmp_path):
    (tmp_path / "d.csv").write_text("a;b\n1;2\n")
    with pytest.raises(UserError, match="it has no column md5"):
        ledger.read(tmp_path / "d.csv")
    (tmp_path / "d.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not text in UTF-8"):
        ledger.read(tmp_path / "d.csv")


def test_what_editors_do_to_a_file_is_accepted(tmp_path):
    text = f"\ufeffmd5,decision,label,author,time,note\r\n{CAT},relabel,cat,Ada,2026-01-31T12:00:00Z,"
    (tmp_path / "d.csv").write_bytes(text.encode())
    assert ledger.read(tmp_path / "d.csv") == [line()]
    ledger.append(tmp_path / "d.csv", line(DOG, minute=1))
    assert ledger.read(tmp_path / "d.csv") == [line(), line(DOG, minute=1)]


def test_a_line_that_is_no_decision_is_not_added(tmp_path):
    with pytest.raises(UserError, match="cannot be the name of a folder"):
        ledger.append(tmp_path / "d.csv", line(label="a/b"))
    assert not (tmp_path / "d.csv").exists()
    ledger.append(tmp_path / "d.csv", line(note="two\nlines", author="Ada\u202e"))
    assert ledger.read(tmp_path / "d.csv") == [line(note="two lines", author="Ada")]


def add_many(path, author):
    for number in range(200):
        ledger.append(path, line(f"{number:032x}", author=author, minute=number % 60))


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path):
    path = write(tmp_path / "d.csv", line())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(add_many, [(path, "Ada"), (path, "Grace")])
    assert len(ledger.read(path)) == 401


def test_git_merges_the_lines_of_two_branches(tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x", *words], cwd=tmp_path, check=True)

    attributes = (Path(__file__).parents[2] / ".gitattributes").read_text()
    (tmp_path / ".gitattributes").write_text(attributes)
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data/decisions.csv", line(minute=0))
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "begin")
    git("switch", "-qc", "other")
    write(path, line(DOG, author="Grace", minute=2))
    git("commit", "-qam", "Grace's")
    git("switch", "-q", "main")
    write(path, line(DOG, label="dog", minute=1))
    git("commit", "-qam", "Ada's")
    git("merge", "-q", "other")
    lines = ledger.read(path)
    assert [each.author for each in lines] == ["Ada", "Ada", "Grace"]
    assert ledger.holding(lines)[DOG].label == "cat"
    assert list(ledger.contradictions(lines)) == [DOG]
