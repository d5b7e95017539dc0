import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.files import (
    csv_line,
    link_or_copy,
    natural_key,
    read_csv,
    read_json,
    scratch_folder,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
    write_text,
)

LETTERS = st.sampled_from("'=+-@\t\r\n\",;1\uff1d")
CELLS = st.text(st.one_of(LETTERS, st.characters(exclude_categories=["Cs"])), max_size=8)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_when_the_block_succeeds(tmp_path):
    target = tmp_path / "out"
    for name in ("first", "second"):
        with whole_folder(target) as folder:
            assert names(folder) == []
            (folder / name).touch()
        assert names(target) == [name]
    assert names(tmp_path) == ["out"]


def test_a_folder_stays_as_it_was_when_the_block_fails(tmp_path):
    """What is left of it is deleted by the next run, not taken for a result."""
    target = tmp_path / "out"
    with whole_folder(target) as folder:
        (folder / "first").touch()
    with pytest.raises(RuntimeError), whole_folder(target) as folder:
        (folder / "second").touch()
        raise RuntimeError
    assert names(target) == ["first"]
    assert names(tmp_path) == [".out.partial", "out"]
    with whole_folder(target) as folder:
        assert names(folder) == []
    assert names(tmp_path) == ["out"]


def test_a_scratch_folder_is_deleted_in_any_case(tmp_path):
    (tmp_path / ".out.scratch.partial").mkdir()
    (tmp_path / ".out.scratch.partial/of_a_killed_process").touch()
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "out") as folder:
        assert names(folder) == []
        (folder / "file").touch()
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path):
    target = tmp_path / "folder/file"
    with whole_file(target) as partial:
        partial.write_text("first")
        assert str(os.getpid()) in partial.name
        assert not target.exists()
    with pytest.raises(RuntimeError), whole_file(target) as partial:
        partial.write_text("second")
        raise RuntimeError
    assert target.read_text() == "first"
    assert names(tmp_path / "folder") == ["file"]


def test_texts_end_with_one_line_end(tmp_path):
    for text in ("a\nb", "a\nb\n", "a\nb \n\n"):
        write_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_bytes() == b"a\nb\n"


def test_json_keeps_its_order_and_its_letters(tmp_path):
    write_json(tmp_path / "file", {"b": 1, "a": ["ä", None]})
    assert (tmp_path / "file").read_text() == '{\n  "b": 1,\n  "a": [\n    "ä",\n    null\n  ]\n}\n'
    assert list(json.loads((tmp_path / "file").read_text())) == ["b", "a"]


def test_tables_are_read_as_they_were_written(tmp_path):
    rows = [("a,b", 1), ('say "x"', ""), ("two\nlines", 0.1)]
    write_csv(tmp_path / "file.csv", ("name", "value"), rows)
    assert b"\r" not in (tmp_path / "file.csv").read_bytes()
    assert [(row["name"], row["value"]) for row in read_csv(tmp_path / "file.csv")] == [
        (name, str(value)) for name, value in rows
    ]
    with pytest.raises(UserError, match=r"none\.csv is missing: run `dvc repro`, which writes it\.$"):
        read_csv(tmp_path / "none.csv")


NUMBERS = ("-0.5", "+3", "-1e-05", "-.5", "-inf", "nan", "12", "")
FORMULAS = ("=1+1", "+49 170", "-", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "=\r\n", "-1-1", "=cmd|' '!A0")


def test_a_spreadsheet_evaluates_no_cell(tmp_path):
    for text in FORMULAS:
        (line,) = csv.reader(io.StringIO(csv_line([text, 1]), newline=""))
        assert line == [f"'{text}", "1"]
    for text in (*NUMBERS, "a=b", "'", "'quoted'", "犬", " =1"):
        assert csv_line([text, -2.5]) == f"{text},-2.5\n"
    assert csv_line([Path("=a/1.png"), None]) == "'=a/1.png,\n"


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
@example([("'=1", "''=1")])
def test_any_texts_survive_a_table(tmp_path_factory, rows):
    target = tmp_path_factory.getbasetemp() / f"{os.getpid()}.csv"
    write_csv(target, ("first", "second"), rows)
    assert [tuple(row.values()) for row in read_csv(target, ("first", "second"))] == rows


DAMAGE = {
    "a,b\n1,2": "it is cut off",
    "": "it is empty",
    "a\n1\n": "it has no column b",
    "\n": "it has no column a",
    "a,b\n1,2\n3\n": "row 2 has 1 of 2 cells",
    "a,b\n1,2,3\n": "row 1 has 3 of 2 cells",
    'a,b\n1,"2\n': "it is not a table",
    'a,b\n1,"2"x\n': "it is not a table",
    "a,b\n1,0.x5\n": "row 1 has no number in column b",
    "a,b\n1,\n": "row 1 has no number in column b",
}


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_table_is_refused(tmp_path, text):
    (tmp_path / "file.csv").write_text(text)
    with pytest.raises(UserError, match=rf"file\.csv is damaged or was changed \({DAMAGE[text]}"):
        read_csv(tmp_path / "file.csv", ("a",), ("b",))


@pytest.mark.parametrize("text", ["", "{", '{"a": 1', "[1]", "null", '{"a": "1"}', "{}", "[" * 100_000, "5\n"])
def test_damaged_json_is_refused(tmp_path, text):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(UserError, match=r"file\.json is damaged or was changed"):
        read_json(tmp_path / "file.json", a=int)
    (tmp_path / "file.json").write_text('{"a": 1, "b": null}')
    assert read_json(tmp_path / "file.json", a=int) == {"a": 1, "b": None}


def test_files_are_linked_or_else_copied(tmp_path, monkeypatch):
    (tmp_path / "source").write_text("text")
    link_or_copy(tmp_path / "source", tmp_path / "folder/link")
    assert (tmp_path / "folder/link").samefile(tmp_path / "source")

    def refuse(*paths):
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "source", tmp_path / "folder/copy")
    assert not (tmp_path / "folder/copy").samefile(tmp_path / "source")
    assert (tmp_path / "folder/copy").read_text() == "text"


def test_names_are_sorted_as_people_do():
    names = ["10.png", "9.png", "a10b2", "a9b10", "a10b1", "a", "1"]
    assert sorted(names, key=natural_key) == ["1", "9.png", "10.png", "a", "a9b10", "a10b1", "a10b2"]
