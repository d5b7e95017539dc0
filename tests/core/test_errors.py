"""Errors of the environment become one sentence; faults of the code never do."""

import errno
import os
import pickle
import sqlite3
from pathlib import Path

import pytest

from darkroom.core import parallel
from darkroom.core.errors import UserError, environment_sentence, is_of_the_machine
from darkroom.core.parallel import on_all_cores
from darkroom.pipeline.script import guarded

FILE = "data/.raw.partial/train/cat/1.jpg"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, ["no space left on the disk that holds data (", " free): free some"]),
        (errno.EDQUOT, ["quota on the disk that holds data", "free some"]),
        (errno.EROFS, ["the disk that holds data can only be read"]),
        (errno.EACCES, ["no permission for data:", "`ls -ld`"]),
        (errno.EPERM, ["no permission for data:", "`ls -ld`"]),
        (errno.EMFILE, ["too many files are open", "`ulimit -n"]),
        (errno.ENFILE, ["too many files are open on this machine", "close other programs"]),
        (errno.ENAMETOOLONG, ["1.jpg is too long", "shorten"]),
        (errno.EFBIG, ["data is larger than", "`ulimit -f`"]),
        (errno.ENOMEM, ["not enough memory", "close other programs"]),
        (errno.EIO, ["the disk that holds data does not work"]),
    ],
)
def test_an_error_of_the_environment_names_its_cause_and_remedy(code, words):
    sentence = environment_sentence(OSError(code, os.strerror(code), FILE))
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith(".")


def test_a_file_that_the_user_can_see_is_named():
    error = PermissionError(errno.EACCES, "Permission denied", "data/in/1.jpg")
    assert "no permission for data/in/1.jpg:" in environment_sentence(error)


def test_a_closed_folder_is_named_instead_of_what_lies_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/in/deep").mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, _: "in" not in Path(path).parts)  # root may do everything
    error = PermissionError(errno.EACCES, "Permission denied", "data/in/deep/1.jpg")
    assert "no permission for data/in:" in environment_sentence(error)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk that holds /"),
        (MemoryError(), "not enough memory"),
        (OSError("4096 requested and 0 written"), "no space left"),  # numpy
        (sqlite3.OperationalError("database or disk is full"), "no space left"),
        (RuntimeError("write failed: No space left on device"), "no space left"),  # TensorFlow
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "TMPDIR"),
    ],
    ids=repr,
)
def test_libraries_hide_the_cause_in_various_ways(error, word):
    assert word in environment_sentence(error)


def test_the_caller_may_know_the_file_better():
    error = OSError(errno.EACCES, "Permission denied", "data/.raw.scratch.partial/inner.zip")
    assert "no permission for outer.zip/inner.zip:" in environment_sentence(error, "outer.zip/inner.zip")
    assert "no permission for this." not in environment_sentence(error, "this")


def test_a_full_disk_is_found_behind_the_error_that_it_causes():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise ValueError("cannot close the archive") from None
    except ValueError as error:
        assert environment_sentence(error) is None  # `from None` says that the first does not matter
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise ValueError("cannot close the archive")  # as zipfile does
    except ValueError as error:
        assert "no space left" in environment_sentence(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", FILE),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", FILE),
        OSError("cannot identify image file"),
        PermissionError(errno.EACCES, "Permission denied"),  # without a file: a port, a signal
        AssertionError("4096 requested"),
        UserError("x"),
    ],
    ids=repr,
)
def test_faults_are_not_of_the_environment(error):
    assert environment_sentence(error) is None
    assert not is_of_the_machine(error)


def test_what_is_in_the_place_of_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".cache").touch()
    Path("reports").symlink_to("reports")
    for folder, sentence in (
        (".cache", ".cache is in the place of a folder: move it away."),
        (".cache/features/ab", ".cache is in the place of a folder: move it away."),
        ("reports/plots", "reports is a link that leads back to itself: delete it."),
    ):
        with pytest.raises(OSError, match="") as raised:
            Path(folder).mkdir(parents=True, exist_ok=True)
        assert environment_sentence(raised.value) == sentence
        assert not is_of_the_machine(raised.value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.ENOMEM])
def test_some_errors_would_meet_every_file(code):
    assert is_of_the_machine(OSError(code, "x", FILE))
    assert not is_of_the_machine(OSError(errno.EACCES, "x", FILE))


def end(error, capsys):
    def work():
        raise error

    with pytest.raises(SystemExit) as caught:
        guarded("download", work)
    return caught.value.code


def test_a_program_ends_with_one_sentence(capsys):
    assert end(OSError(errno.ENOSPC, "x", "data/raw/1.jpg"), capsys).startswith("download: there is no space left")
    assert end(MemoryError(), capsys).startswith("download: there is not enough memory")
    with pytest.raises(ValueError, match="a fault"):
        end(ValueError("a fault"), capsys)
    with pytest.raises(FileNotFoundError):
        end(FileNotFoundError(errno.ENOENT, "x", "y"), capsys)


def full(number):
    if number >= parallel.CHUNK:
        raise OSError(errno.ENOSPC, "No space left on device", f"data/raw/{number}.jpg")
    return number


def test_the_error_of_a_worker_process_keeps_its_cause(monkeypatch):
    monkeypatch.setattr(parallel, "ALONE_SECONDS", -1)
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    with pytest.raises(OSError, match="No space") as caught:
        list(on_all_cores(full, range(parallel.CHUNK + 1)))
    assert "no space left on the disk that holds data/raw" in environment_sentence(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).filename == f"data/raw/{parallel.CHUNK}.jpg"
