"""A dvc.lock that a kill cut off is put back; a whole one is left alone."""

import random

import pytest

from darkroom.pipeline import lock_file
from tests.helpers.project import ROOT, commit, run


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with this project's dvc.lock."""
    run("git", "init", "-q", cwd=tmp_path)
    (tmp_path / "dvc.lock").write_bytes((ROOT / "dvc.lock").read_bytes())
    commit(tmp_path, "start")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_whole_file_is_left_alone(repository, capsys):
    (repository / "dvc.lock").write_text((ROOT / "dvc.lock").read_text().replace("size: ", "size: 1"))
    before = (repository / "dvc.lock").read_bytes()
    lock_file.restore()
    assert ((repository / "dvc.lock").read_bytes(), capsys.readouterr().out) == (before, "")


@pytest.mark.parametrize("text", ["", "schema", "schema: '2.0'\nstages:\n  split:\n    cm", "\x00" * 50, "stages: 1\n"])
def test_one_that_is_cut_off_is_put_back(text, repository, capsys):
    (repository / "dvc.lock").write_text(text)
    lock_file.restore()
    assert (repository / "dvc.lock").read_bytes() == (ROOT / "dvc.lock").read_bytes()
    assert "dvc.lock was cut off" in capsys.readouterr().out


def test_what_remains_at_any_length_is_valid_or_put_back(repository):
    whole = (ROOT / "dvc.lock").read_bytes()
    for length in random.Random(5).sample(range(len(whole)), 12):
        (repository / "dvc.lock").write_bytes(whole[:length])
        lock_file.restore()
        assert lock_file._is_valid(repository / "dvc.lock")


def test_without_a_commit_it_is_deleted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text("schema")
    lock_file.restore()
    assert not (tmp_path / "dvc.lock").exists()
    assert "deleted" in capsys.readouterr().out
