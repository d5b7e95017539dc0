"""A commit run again in a new clone: all outputs are the same bytes, or each difference and its cause is named."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from darkroom.commands.reproduce import environment, outputs
from darkroom.commands.reproduce.command import main
from darkroom.core.errors import UserError
from darkroom.core.yaml import read_yaml
from tests.helpers.project import commit, run


@pytest.fixture
def project(cheap_copy, monkeypatch):
    monkeypatch.chdir(cheap_copy)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return cheap_copy


def reproduce(project, revision="HEAD", against=None):
    """The certificate."""
    try:
        main(revision, project / "certificate.json", against, keep=False)
    except UserError as error:
        assert "was not reproduced" in str(error)
    return json.loads((project / "certificate.json").read_text())


def test_a_commit_is_reproduced_in_a_clone_at_another_path(project, capfd):
    before = run("git", "status", "--short", cwd=project).stdout
    content = reproduce(project)
    assert (content["reproduced"], content["differences"], content["causes"]) == (True, [], [])
    stages = read_yaml(project / "dvc.lock")["stages"].values()
    assert content["outputs"] == sum(len(stage["outs"]) for stage in stages) > 20
    assert content["compute"]["cpu_seconds"] > 0
    assert content["environment"]["packages"]["dvc"]
    assert f"all {content['outputs']} outputs of {content['commit'][:10]} are the same bytes" in capfd.readouterr().out
    assert run("git", "status", "--short", cwd=project).stdout == before


def test_a_picture_in_which_a_bit_was_flipped_is_named_with_all_that_follows_from_it(project):
    picture = next((project / "data/incoming").rglob("4.png"))
    data = bytearray(picture.read_bytes())
    data[0] ^= 1
    picture.unlink()
    picture.write_bytes(data)
    content = reproduce(project)
    assert not content["reproduced"]
    assert len(content["differences"]) == content["outputs"]
    raw = next(item for item in content["differences"] if item["path"] == "data/raw")
    assert (raw["stage"], raw["files"]) == ("download", ["train/Coat/4.png"])
    causes = [cause for cause in content["causes"] if "data/incoming" in cause]
    assert causes == ["data/incoming of stage download is not what the commit was run with"]


def test_an_output_that_was_made_otherwise_is_named_alone(project):
    """A file in models in which a bit was flipped before it was committed."""
    lock = project / "dvc.lock"
    entry = next(item for item in read_yaml(lock)["stages"]["train"]["outs"] if item["path"] == "models")
    cached = project / ".dvc/cache/files/md5" / entry["md5"][:2] / entry["md5"][2:]
    listing = json.loads(cached.read_text())
    listing[0]["md5"] = listing[0]["md5"][::-1]
    forged = f"{'0' * 32}.dir"
    (project / ".dvc/cache/files/md5/00").mkdir(exist_ok=True)
    (project / ".dvc/cache/files/md5/00" / forged[2:]).write_text(json.dumps(listing))
    lock.write_text(lock.read_text().replace(entry["md5"], forged))
    commit(project, "another model")
    content = reproduce(project)
    assert [(item["stage"], item["path"]) for item in content["differences"]] == [("train", "models")]
    assert content["differences"][0]["files"] == [listing[0]["relpath"]]
    assert content["causes"] == []


def test_other_packages_and_threads_are_named(project):
    reproduce(project)
    there = json.loads((project / "certificate.json").read_text())
    there["environment"]["threads"] += 6
    there["environment"]["packages"]["numpy"] = "1.0"
    (project / "there.json").write_text(json.dumps(there))
    lock = project / "requirements.lock"
    lock.write_text(lock.read_text().replace("\nnumpy==", "\nnumpy==0."))
    commit(project, "another version is pinned")
    content = reproduce(project, against=project / "there.json")
    here = environment.describe()
    numpy = here["packages"]["numpy"]
    assert content["reproduced"]
    assert content["causes"] == [
        f"package numpy: 0.{numpy} is pinned, {numpy} is installed",
        f"threads: {here['threads'] + 6} there, {here['threads']} here",
        f"packages numpy: 1.0 there, {numpy} here",
    ]


def test_the_number_of_threads_is_that_of_the_process(monkeypatch):
    threads = environment.describe()["threads"]
    assert threads == len(os.sched_getaffinity(0))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert environment.describe()["variables"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_a_cache_that_is_shared_with_other_projects_is_not_used(project, tmp_path, monkeypatch):
    """It has all outputs already, as DVC's run cache would find."""
    shutil.copytree(project / ".dvc/cache", tmp_path / "shared")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "dvc"))
    (tmp_path / "dvc").mkdir()
    (tmp_path / "dvc/config").write_text(f"[cache]\n    dir = {tmp_path / 'shared'}\n")
    entry = next(
        out for out in read_yaml(project / "dvc.lock")["stages"]["train"]["outs"] if out["path"] == "reports/model.txt"
    )
    lock = project / "dvc.lock"
    forged = entry["md5"][::-1]
    lock.write_text(lock.read_text().replace(entry["md5"], forged))
    commit(project, "another table")
    content = reproduce(project)
    assert [item["path"] for item in content["differences"]] == ["reports/model.txt"]


def test_pictures_outside_the_project_are_taken_along(project, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (project / "data/incoming").rename(project.parent / "pictures")
    (project / "data/incoming").mkdir()
    (project / "data/incoming/.gitkeep").touch()
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("path: data/incoming", "path: ../pictures"))
    run("dvc", "repro", "-q", cwd=project)
    commit(project, "pictures elsewhere")
    assert reproduce(project)["reproduced"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_hashes_of_other_kinds_and_odd_certificates_are_borne():
    lock = "stages: {import: {deps: [{path: a.csv, etag: 'x1'}], outs: [{path: b, md5: abc}]}}"
    caches = (Path("nowhere"), Path("nowhere"))
    other = lock.replace("x1", "x2")
    assert [item.path for item in outputs.differences(lock, other, "deps", caches)] == ["a.csv"]
    assert list(outputs.differences("{}", lock, "outs", caches))
    assert "packages" in " ".join(environment.changes(environment.describe(), {"packages": []}))


def test_an_older_commit_is_run_with_its_own_params(project):
    first = run("git", "rev-parse", "HEAD", cwd=project).stdout.strip()
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("dropout: 0.5", "dropout: 0.2"))
    run("dvc", "repro", "-q", cwd=project)
    commit(project, "another dropout")
    assert reproduce(project, first)["reproduced"]
    assert reproduce(project)["reproduced"]


@pytest.mark.parametrize(("revision", "sentence"), [("nowhere", "no commit here"), ("HEAD~1", "has no dvc.lock")])
def test_what_cannot_be_run_again_is_refused(project, revision, sentence):
    if revision == "HEAD~1":
        run("git", "rm", "-q", "--cached", "dvc.lock", cwd=project)
        run("git", "commit", "-qm", "no lock", cwd=project)
        shutil.move(project / "dvc.lock", project / "kept")
        commit(project, "later")
    with pytest.raises(UserError, match=sentence):
        main(revision, project / "certificate.json", None, keep=False)
    assert not (project / "certificate.json").exists()


def test_a_pipeline_that_fails_is_said(project, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    text = (project / "dvc.yaml").read_text().replace("tests.helpers.cheap train", "tests.helpers.nothing")
    (project / "dvc.yaml").write_text(text)
    commit(project, "broken")
    with pytest.raises(UserError, match="the pipeline of this commit fails"):
        main("HEAD", project / "certificate.json", None, keep=False)
