import json
import os

import pytest

from darkroom.core.errors import UserError
from darkroom.core.files import (
    files_below,
    link_or_copy,
    natural_key,
    read_csv,
    scratch_folder,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
    write_text,
)


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
    with pytest.raises(UserError, match=r"none\.csv is missing: run `dvc repro`, which creates it\.$"):
        read_csv(tmp_path / "none.csv")


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


def test_files_below_a_folder_are_those_at_any_depth(tmp_path):
    for name in ("a/b/1.txt", "a/2.txt", ".hidden/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(path.name for path in files_below(tmp_path)) == ["1.txt", "2.txt", "3.txt"]


def test_a_folder_that_cannot_be_read_is_an_error_and_not_empty(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(files_below(tmp_path / "none"))
