"""The ledger of decisions on labels: what its lines mean, and how it survives people, merges and kills."""

import fcntl
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.files import csv_line
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
    header, *rest = (tmp_path / "d.csv").read_text().splitlines()
    (tmp_path / "d.csv").write_text("\n\n \n".join([header, header, *rest]))
    assert ledger.read(tmp_path / "d.csv") == [line(), line(DOG, minute=1)]


def test_a_line_that_is_no_decision_is_not_added(tmp_path):
    with pytest.raises(UserError, match="cannot be the name of a folder"):
        ledger.append(tmp_path / "d.csv", line(label="a/b"))
    assert not (tmp_path / "d.csv").exists()
    ledger.append(tmp_path / "d.csv", line(note="two\nlines", author="Ada\u202e"))
    assert ledger.read(tmp_path / "d.csv") == [line(note="two lines", author="Ada")]


def add_and_read(path, author, barrier):
    barrier.wait()
    for number in range(200):
        ledger.append(path, line(f"{number:032x}", author=author, minute=number % 60))
        ledger.read(path)


def test_processes_that_add_and_read_at_the_same_time_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    path = tmp_path / "d.csv"
    processes = [context.Process(target=add_and_read, args=(path, author, barrier)) for author in ("Ada", "Grace")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(ledger.read(path)) == 400


def test_a_line_waits_for_another_that_is_half_written(tmp_path):
    path = write(tmp_path / "d.csv", line())
    text = csv_line(line(author="Ada", minute=1)).encode()
    with path.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text[:40])
        threads = [
            threading.Thread(target=ledger.append, args=(path, line(author="Grace", minute=2))),
            threading.Thread(target=ledger.read, args=(path,)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(0.2)
            assert thread.is_alive()
        file.write(text[40:])
    for thread in threads:
        thread.join()
    assert [each.author for each in ledger.read(path)] == ["Ada", "Ada", "Grace"]


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path):
    path = write(tmp_path / "d.csv", line())
    before = path.read_bytes()
    code = f"""
import resource, signal
from pathlib import Path
from darkroom.download.ledger import Decision, append
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 20}, {len(before) + 20}))
try:
    append(Path({str(path)!r}), Decision(*{tuple(line(minute=1))}))
except OSError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert path.read_bytes() == before


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
