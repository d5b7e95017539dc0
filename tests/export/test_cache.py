"""The cache of `export`: what is made again, and what is not."""

import errno
import os

import numpy as np
import pytest

from darkroom.core import paths, sealed
from darkroom.export import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    return tmp_path / ".cache/export"


@pytest.fixture
def made():
    """The keys of all arrays that were made."""
    return []


def recall(made, *key):
    def make():
        made.append(key)
        return np.arange(len(made))

    return cache.recall(key, make).tolist()


def test_an_array_is_made_once_for_a_key(folder, made):
    assert [recall(made, "a", b"b") for _ in range(2)] == [[0]] * 2
    assert recall(made, "ab") == [0, 1]
    assert recall(made, b"a", "b") == [0]  # text or bytes, but the parts are told apart
    assert recall(made, "", "ab") == [0, 1, 2]
    assert made == [("a", b"b"), ("ab",), ("", "ab")]


def test_other_code_another_library_or_another_cpu_makes_it_again(folder, made, monkeypatch):
    recall(made, "a")
    monkeypatch.setattr(cache, "code_digest", lambda room: f"other code of {room}")
    recall(made, "a")
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"another {name}")
    recall(made, "a")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    recall(made, "a")
    monkeypatch.setattr("darkroom.core.precision.cpu_flags", lambda: frozenset({"another"}))
    recall(made, "a")
    assert len(made) == 5


@pytest.mark.parametrize("damage", [b"", b"\0" * 100])
def test_a_damaged_array_is_made_again(folder, made, damage):
    recall(made, "a")
    (path,) = folder.iterdir()
    path.write_bytes(damage)
    assert recall(made, "a") == [0, 1]
    assert len(list(folder.iterdir())) == 1
    assert recall(made, "a") == [0, 1]


def test_the_arrays_that_were_used_last_are_kept(folder, made):
    for number in range(cache.KEPT + 2):
        recall(made, str(number))
        for path in folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 100,) * 2)
        recall(made, "0")
    assert len(list(folder.iterdir())) == cache.KEPT
    count = len(made)
    recall(made, "0")
    recall(made, str(cache.KEPT + 1))
    assert len(made) == count
    recall(made, "1")
    assert len(made) == count + 1


def test_a_full_disk_costs_only_the_cache(folder, made, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sealed, "write", full)
    assert recall(made, "a") == [0]
