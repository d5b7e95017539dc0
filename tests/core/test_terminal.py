import io
import os
import re
import sys
from types import SimpleNamespace

import pytest

from darkroom.core import terminal
from darkroom.core.errors import UserError
from darkroom.core.terminal import printable, progress, silent, table
from darkroom.pipeline.script import guarded


def test_progress_is_a_line_at_the_end_in_a_log(capfd):
    assert list(progress(iter("abc"), 5, "read", step=2)) == ["a", "b", "c"]
    output = capfd.readouterr()
    assert re.fullmatch(r"read: 5 pictures in \d\.\d s\n", output.out)
    assert output.err == ""


def test_long_work_reports_in_between(capfd, monkeypatch):
    """From the second item on: what is left is estimated without the first, which may be slow."""
    clock = iter([0, 8, 8.5, 20, 21, 30])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    list(progress(range(4), 700, "read", "files", step=200))
    assert capfd.readouterr().out.splitlines() == [
        "read: 400 of 700 files (400 a second, 00:00 left)",
        "read: 600 of 700 files (33 a second, 00:03 left)",
        "read: 700 files in 30.0 s",
    ]
    clock = iter([0, 1, 9001, 9002])
    list(progress(range(2), 5, "read"))
    assert capfd.readouterr().out.splitlines()[0] == "read: 2 of 5 pictures (0.0 a second, 7:30:00 left)"


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(3), 5, "read", step=2)) == [0, 1, 2]
    assert "read: 100%" in sys.stderr.getvalue()
    assert "5/5" in sys.stderr.getvalue()


def test_tables_are_aligned():
    rows = [("name", "value"), ("a", "1.10"), ("longer name", " 2"), ("", "x  y")]
    assert table(rows) == "name         value\na            1.10\nlonger name   2\n             x  y"


def test_silence_holds_for_native_code_and_ends(capfd):
    with pytest.raises(RuntimeError), silent():
        os.write(2, b"during\n")
        raise RuntimeError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


HOSTILE = "a\r\n\x1b[2Jb\u202ec\u2066\x85\u2028\udcff"


def test_names_do_nothing_to_a_terminal():
    assert printable(HOSTILE) == "a???[2Jb?c????"
    assert printable("x" * 100, 10) == "x" * 9 + "…"
    for name in ("Übergröße 図書館\u3000🦊", "non\xa0breaking", "👩\u200d🔬", "<b>$x$</b>"):
        assert printable(name) == name


def test_what_a_program_prints_is_made_of_names_from_outside(capsys):
    def work():
        print(f"found {HOSTILE}\tas a class")
        raise UserError(f"there is no {HOSTILE}.")

    with pytest.raises(SystemExit) as end:
        guarded("download", work)
    assert capsys.readouterr().out == "found a?\n?[2Jb?c????\tas a class\n"
    assert end.value.code == "download: there is no a?\n?[2Jb?c????."
