"""Two people share pictures and results: through a folder, SSH and S3, with git beside it."""

import re
import shutil

import numpy as np
import pytest
import yaml

from tests.helpers.documents import TEXT
from tests.helpers.once import made_once
from tests.helpers.pictures import save
from tests.helpers.project import ROOT, commit, copy_project, repro, run, set_param
from tests.helpers.remotes import SECRET, s3_server, ssh_server

RESULTS = ("models", "exports", "reports", "data/pictures", "data/features")
PULL = ("git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "pull", "-q", "--no-rebase", "--no-edit")


def contents(folder):
    """Path to bytes of everything that people share of a run."""
    files = [path for name in RESULTS for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def share(folder, message):
    """The documented commands after a run."""
    commit(folder, message)
    run("dvc", "push", "-q", cwd=folder)
    run("git", "push", "-q", cwd=folder)


def get(folder):
    """The documented command to get what a colleague shared."""
    run("git", "pull", "-q", cwd=folder)
    run("dvc", "pull", "-q", cwd=folder)


def version_pictures(folder):
    """The documented way to keep the pictures themselves in DVC."""
    pictures = folder / "data/pictures"
    pictures.mkdir()
    for label in [path for path in (folder / "data/incoming").iterdir() if path.is_dir()]:
        label.rename(pictures / label.name)
    run("dvc", "add", "-q", "data/pictures", cwd=folder)
    set_param(folder, "download.path", "data/pictures")


def moved(folder):
    """Correct a label: a coat is a dress."""
    picture = sorted((folder / "data/pictures/Coat").iterdir())[0]
    picture.rename(folder / "data/pictures/Dress" / picture.name)


@pytest.fixture(scope="session")
def shared(tmp_path_factory, cheap):
    """Two clones, with stages that take no time: `first` added pictures and pushed, `second` then changed a label."""

    def make(folder):
        copy_project(cheap, folder / "first")
        run("git", "init", "-q", "--bare", "-b", "main", "git", cwd=folder)
        first, second = folder / "first", folder / "second"
        run("git", "checkout", "-q", "-B", "main", cwd=first)
        run("git", "remote", "set-url", "origin", "../git", cwd=first)
        run("dvc", "remote", "add", "-q", "-d", "team", "../dvc", cwd=first)
        version_pictures(first)
        repro(first)
        commit(first, "our pictures")
        run("dvc", "push", "-q", cwd=first)
        run("git", "push", "-qu", "origin", "main", cwd=first)
        run("git", "clone", "-q", "git", "second", cwd=folder)
        run("git", "remote", "set-url", "origin", "../git", cwd=second)
        run("dvc", "pull", "-q", cwd=second)
        moved(second)
        repro(second)
        share(second, "a wrong label")

    return made_once(tmp_path_factory, "shared", make)


@pytest.fixture
def two(shared, tmp_path):
    """`(first, second)`: copies of the clones, whose addresses of each other are relative, for a test to change."""
    copy_project(shared, tmp_path / "team")
    return tmp_path / "team/first", tmp_path / "team/second"


@pytest.mark.full
def test_a_new_clone_gets_the_pictures_and_all_results_and_computes_nothing(two):
    _, second = two
    third = second.parent / "somewhere else/darkroom"
    third.parent.mkdir()
    run("git", "clone", "-q", "../git", str(third), cwd=second)
    run("dvc", "remote", "modify", "-q", "--local", "team", "url", str(second.parent / "dvc"), cwd=third)
    run("dvc", "pull", "-q", cwd=third)
    assert contents(third) == contents(second)
    assert repro(third) == []
    assert run("git", "status", "--porcelain", cwd=third).stdout == ""


@pytest.mark.full
def test_a_changed_label_reaches_the_other_clone_and_an_earlier_version_comes_back(two):
    first, second = two
    before, after = contents(first), contents(second)
    picture = next(name for name in before if name.startswith("data/pictures/Coat/") and name not in after)
    assert picture.replace("Coat", "Dress") in after
    assert before["models/head.weights.h5"] != after["models/head.weights.h5"]
    get(first)
    assert contents(first) == after
    assert repro(first) == []
    for version, expected in (("HEAD~1", before), ("main", after)):
        run("git", "checkout", "-q", version, cwd=first)
        run("dvc", "pull", "-q", cwd=first)
        assert contents(first) == expected
        assert repro(first) == []
    assert run("git", "status", "--porcelain", cwd=first).stdout == ""


@pytest.mark.full
def test_two_changes_at_once_end_in_one_state_and_only_what_depends_on_both_is_computed(two):
    """One changed a label, the other a param; git merges the params and leaves dvc.lock alone."""
    first, second = two
    labels = contents(second)
    set_param(first, "train.head.dropout", 0.3)
    assert repro(first) == ["train", "evaluate", "export"]
    commit(first, "less dropout")
    merge = run(*PULL, cwd=first, check=False)
    assert "dvc.lock" in merge.stdout + merge.stderr
    assert run("git", "diff", "--name-only", "--diff-filter=U", cwd=first).stdout.split() == ["dvc.lock"]
    yaml.safe_load((first / "dvc.lock").read_text())  # no marks of a conflict

    run("git", "checkout", "-q", "origin/main", "dvc.lock", cwd=first)
    run("dvc", "pull", "-q", cwd=first)
    assert repro(first) == ["train", "evaluate", "export"]
    share(first, "both")
    both = contents(first)
    features = [name for name in labels if name.startswith("data/")]
    assert {name: both[name] for name in features} == {name: labels[name] for name in features}
    assert both["models/head.weights.h5"] != labels["models/head.weights.h5"]
    assert yaml.safe_load((first / "dvc.lock").read_text())["stages"]["train"]["params"]["params.yaml"]["train"][
        "head"
    ]["dropout"] == pytest.approx(0.3)
    get(second)
    assert contents(second) == both
    assert repro(second) == []


@pytest.mark.full
@pytest.mark.parametrize("server", [ssh_server, s3_server])
def test_a_server_carries_results_and_a_changed_label_and_git_never_sees_the_keys(two, server):
    """A real sshd, and moto's server, which has S3's API."""
    first, second = two
    third = first.parent / "somewhere else/darkroom"
    third.parent.mkdir()
    with server() as (address, secrets):
        run("dvc", "remote", "modify", "-q", "team", "url", address, cwd=second)
        with_keys(second, secrets)
        share(second, "a server")
        run("git", "clone", "-q", "../git", str(third), cwd=second)
        with_keys(third, secrets)
        run("dvc", "pull", "-q", cwd=third)
        assert contents(third) == contents(second)
        assert repro(third) == []
        moved(third)
        repro(third)
        share(third, "another label")
        run("git", "pull", "-q", cwd=first)  # first, since keys suit the address that it brings
        with_keys(first, secrets)
        run("dvc", "pull", "-q", cwd=first)
    assert contents(first) == contents(third) != contents(second)
    assert repro(first) == []
    history = run("git", "log", "-p", "--all", "--", ".dvc", cwd=first).stdout
    assert address in history
    assert not [key for key in (SECRET, *secrets) if key in history]


@pytest.mark.full
def test_pictures_that_two_people_changed_are_merged(tmp_path):
    """By DVC's merge driver, which the project's .gitattributes names, with the documented commands."""
    run("git", "init", "-q", "--bare", "-b", "main", "git", cwd=tmp_path)
    run("git", "clone", "-q", "git", "first", cwd=tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    run("git", "checkout", "-q", "-B", "main", cwd=first)
    shutil.copy(ROOT / ".gitattributes", first)
    run("dvc", "init", "-q", cwd=first)
    run("dvc", "remote", "add", "-q", "-d", "team", "../dvc", cwd=first)
    (first / "data/pictures/cat").mkdir(parents=True)
    for shade in range(3):
        save(first / f"data/pictures/cat/{shade}.png", np.full((8, 8), shade, np.uint8))
    run("dvc", "add", "-q", "data/pictures", cwd=first)
    commit(first, "three cats")
    run("dvc", "push", "-q", cwd=first)
    run("git", "push", "-qu", "origin", "main", cwd=first)
    run("git", "clone", "-q", "git", "second", cwd=tmp_path)
    run("dvc", "pull", "-q", cwd=second)
    save(second / "data/pictures/cat/3.png", np.full((8, 8), 3, np.uint8))
    (second / "data/pictures/cat/1.png").unlink()
    run("dvc", "add", "-q", "data/pictures", cwd=second)
    share(second, "one more, one less")
    (first / "data/pictures/dog").mkdir()
    (first / "data/pictures/cat/0.png").rename(first / "data/pictures/dog/0.png")
    run("dvc", "add", "-q", "data/pictures", cwd=first)
    commit(first, "that was a dog")

    assert run(*PULL, cwd=first, check=False).returncode != 0
    run("git", "merge", "--abort", cwd=first)
    driver = re.search(r'git config merge\.dvc\.driver "(.*)"', TEXT)[1]
    run("git", "config", "merge.dvc.driver", driver, cwd=first)
    run("git", "checkout", "-q", "origin/main", cwd=first)
    run("dvc", "fetch", "-q", "data/pictures", cwd=first)
    run("git", "checkout", "-q", "main", cwd=first)
    run(*PULL, cwd=first)
    run("dvc", "pull", "-q", cwd=first)
    merged = {path.relative_to(first / "data/pictures").as_posix() for path in (first / "data/pictures").rglob("*.png")}
    assert merged == {"dog/0.png", "cat/2.png", "cat/3.png"}
    assert run("git", "status", "--porcelain", cwd=first).stdout == ""


def with_keys(folder, secrets):
    for key, value in secrets.items():
        run("dvc", "remote", "modify", "-q", "--local", "team", key, value, cwd=folder)


@pytest.mark.full
def test_without_the_pictures_a_message_says_how_to_continue(project, tmp_path):
    """Pictures in data/incoming are not shared; what was made of them is."""
    folder = tmp_path / "darkroom"
    run("git", "clone", "-q", str(project), str(folder), cwd=tmp_path)
    run("dvc", "remote", "add", "-q", "-d", "team", str(project / ".dvc/cache"), cwd=folder)
    run("dvc", "pull", "-q", cwd=folder)
    result = run("dvc", "repro", cwd=folder, check=False)
    assert result.returncode != 0
    assert "dvc checkout && dvc repro --downstream split" in result.stdout + result.stderr
    run("dvc", "checkout", "-q", cwd=folder)
    assert repro(folder, "--downstream", "split") == []
    set_param(folder, "split.fold", 2)
    assert repro(folder, "--downstream", "split") == ["split"]


def test_all_that_the_pipeline_writes_is_pushed():
    """So that one plain `dvc pull` brings everything; docs/sharing.md says what that costs."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    outs = [out for stage in stages for out in [*stage["outs"], *stage.get("metrics", [])]]
    assert [out for out in outs if not isinstance(out, str)] == []
