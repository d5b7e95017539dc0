"""Two versions of the data: which pictures differ, told by what DVC recorded; and that all who name a version agree."""

import json
import shutil
from collections import Counter
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darkroom.commands.datadiff import command as datadiff
from darkroom.commands.datadiff.changes import Change, differences
from darkroom.commands.datadiff.versions import LEFT_OUT, Picture, pictures, read
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.hashing import folder_md5
from tests.helpers.pictures import save
from tests.helpers.project import commit, run, set_param

VERSIONS = st.lists(
    st.builds(
        Picture,
        st.sampled_from("xy"),
        st.sampled_from("12"),
        st.sampled_from("abc"),
        st.sampled_from(["train", "test"]),
    ),
    max_size=12,
).map(Counter)


@given(VERSIONS, VERSIONS)
def test_changes_lead_from_one_to_the_other(a, b):
    changes = differences(a, b)
    gone = Counter(change.before for change in changes if change.before)
    come = Counter(change.after for change in changes if change.after)
    assert a - gone + come == b
    assert not gone - a
    assert all(change.before != change.after for change in changes)


@given(VERSIONS, VERSIONS)
def test_the_other_way_round_is_the_mirror(a, b):
    mirrored = [Change(change.after, change.before) for change in differences(b, a)]
    assert Counter(mirrored) == Counter(differences(a, b))


@given(VERSIONS)
def test_nothing_differs_from_itself(a):
    assert differences(a, a) == []


@given(VERSIONS, VERSIONS)
def test_no_content_is_both_added_and_removed(a, b):
    """What has more copies in B was added that often; and labels change no more often than they must."""
    changes = differences(a, b)
    for md5 in "abc":
        sides = [Counter({p: n for p, n in side.items() if p.md5 == md5}) for side in (a, b)]
        of_it = [change for change in changes if md5 in {one.md5 for one in (change.before, change.after) if one}]
        added = sum(change.kinds == ["added"] for change in of_it)
        removed = sum(change.kinds == ["removed"] for change in of_it)
        assert min(added, removed) == 0
        assert added - removed == sides[1].total() - sides[0].total()
        labels = [Counter(p.label for p in side.elements()) for side in sides]
        least = min((labels[0] - labels[1]).total(), (labels[1] - labels[0]).total())
        assert sum("label changed" in change.kinds for change in of_it) == least


def test_a_picture_without_a_place_in_the_split_is_left_out():
    raw = {"train/x/1.png": "a", "train/x/2.png": "b", "test/x/1.png": "a", "train/y/1.png": "a"}
    split = {"test/x/1.png": "a", "val/x/2.png": "b", "train/y/1.png": "a"}
    assert pictures(raw, split) == Counter(
        [
            Picture("x", "1.png", "a", LEFT_OUT),
            Picture("x", "1.png", "a", "test"),
            Picture("x", "2.png", "b", "val"),
            Picture("y", "1.png", "a", "train"),
        ]
    )
    assert pictures(raw, None)[Picture("x", "1.png", "a", "test")] == 1


FIRST = {  # place in data/split to content; data/raw has all of them in train
    "train/cat/1.png": "tabby",
    "train/cat/2.png": "siamese",
    "val/cat/3.png": "a dog, really",
    "test/cat/4.png": "kitten",
    "train/dog/1.png": "beagle",
    "test/dog/2.png": "twice",
    "train/dog/3.png": "twice",
    "train/cow/1.png": "cow",
}
SECOND = {
    "train/cat/1.png": "tabby",
    "train/cat/tom.png": "siamese",
    "test/dog/3b.png": "a dog, really",
    "train/cat/4.png": "kitten",
    "train/dog/1.png": "beagle, cropped",
    "test/dog/2.png": "twice",
    "train/cow/1.png": "cow",
}


def place(folder, parts, name="parts"):
    """Write pictures to where the pipeline of `built` takes them from."""
    shutil.rmtree(folder / name, ignore_errors=True)
    for path, content in parts.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_text(content)


def all_in_train(parts):
    return {"/".join(("train", *path.split("/")[1:])): content for path, content in parts.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A git repository with a DVC pipeline that makes data/raw and data/split; tags, and an experiment."""
    folder = tmp_path_factory.mktemp("versions")
    run("git", "init", "-q", cwd=folder)
    for key, value in (("user.name", "Test"), ("user.email", "test@localhost")):
        run("git", "config", key, value, cwd=folder)
    commit(folder, "no data")
    run("git", "tag", "empty", cwd=folder)
    run("dvc", "init", "-q", cwd=folder)
    (folder / "dvc.yaml").write_text(
        "stages:\n"
        "  download: {cmd: cp -r all data/raw, deps: [all], outs: [data/raw]}\n"
        "  split: {cmd: cp -r parts data/split, deps: [data/raw, parts], outs: [data/split]}\n"
    )
    (folder / ".gitignore").write_text("/data/*\n")
    (folder / "data").mkdir()
    for tag, parts in (("first", FIRST), ("second", SECOND)):
        place(folder, parts)
        place(folder, all_in_train(parts), "all")
        run("dvc", "repro", "-q", cwd=folder)
        commit(folder, tag)
        run("git", "tag", tag, cwd=folder)
    place(folder, FIRST)
    place(folder, all_in_train(FIRST), "all")
    run("dvc", "exp", "run", "-q", "-n", "back", cwd=folder)
    run("git", "reset", "-q", "--hard", cwd=folder)
    run("dvc", "checkout", "-q", cwd=folder)
    return folder


@pytest.fixture
def repository(built, tmp_path, monkeypatch):
    """A copy of it as the current folder; what DVC read in other tests is not known here."""
    folder = tmp_path / "repository"
    shutil.copytree(built, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return folder


def test_every_kind_of_change(repository, capsys):
    datadiff.main("first", "second", 20, Path("changes.csv"))
    said = capsys.readouterr().out
    summary, classes, listed = said.split("\n\n")[2:]
    assert [line.rsplit(maxsplit=1) for line in summary.splitlines()] == [
        ["label changed", "1"], ["added", "1"], ["removed", "2"], ["renamed", "1"], ["split changed", "2"],
    ]  # fmt: skip
    assert [line.split() for line in classes.splitlines()[1:-1]] == [
        ["cat", "4", "3", "0", "0", "0", "1"],
        ["dog", "3", "3", "1", "2", "1", "0"],
    ]
    assert classes.splitlines()[-1] == "1 other classes have the same pictures."
    assert [" ".join(line.split()) for line in listed.splitlines()[1:]] == [
        "label changed, split changed cat/3.png -> dog/3b.png val -> test",
        "added dog/1.png train",
        "removed dog/1.png train",
        "removed dog/3.png train",
        "renamed cat/2.png -> cat/tom.png train",
        "split changed cat/4.png test -> train",
    ]
    rows = read_csv(Path("changes.csv"))
    assert len(rows) == 6
    assert rows[0] | {"md5": ""} == {
        "change": "label changed, split changed", "path_a": "cat/3.png", "path_b": "dog/3b.png", "class_a": "cat",
        "class_b": "dog", "split_a": "val", "split_b": "test", "md5": "",
    }  # fmt: skip
    datadiff.main("first", "second", 2, None)
    assert "… and 4 more: --list N" in capsys.readouterr().out


def test_it_names_the_versions_as_dvc_lock_does(repository, capsys):
    locked = yaml.safe_load((repository / "dvc.lock").read_text())["stages"]
    datadiff.main("first", "workspace", 0, None)
    said = capsys.readouterr().out
    for stage, folder in (("download", "data/raw"), ("split", "data/split")):
        (out,) = locked[stage]["outs"]
        assert f"{out['md5']}\n" in said.split("\n\n")[1] + "\n"
        assert out["md5"] == folder_md5(Path(folder))


@pytest.mark.parametrize(("a", "b"), [("second", "workspace"), ("second", "HEAD"), ("first", "back")])
def test_the_same_data_is_one_line(repository, capsys, a, b):
    datadiff.main(a, b, 20, None)
    said = capsys.readouterr().out
    assert said == f"The same data: data/raw {read(a).raw_md5}, data/split {read(a).split_md5}.\n"


def test_a_split_that_is_older_than_the_pictures_is_not_compared(repository, capsys):
    place(repository, all_in_train(FIRST | {"train/cat/9.png": "lynx"}), "all")
    run("dvc", "repro", "-q", "download", cwd=repository)
    datadiff.main("first", "workspace", 20, None)
    said = capsys.readouterr().out
    assert "Splits are not compared: workspace has no data/split of its pictures yet." in said
    assert [line.split() for line in said.splitlines() if line.startswith(("added", "split changed"))] == [
        ["added", "1"], ["split", "changed", "0"], ["added", "cat/9.png", "train"],
    ]  # fmt: skip


def test_lists_come_from_the_remote_and_no_picture_with_them(repository, tmp_path, capsys):
    """The remote is newer than both revisions."""
    run("dvc", "remote", "add", "-q", "-d", "team", str(tmp_path / "remote"), cwd=repository)
    for tag in ("first", "second"):
        run("git", "checkout", "-q", tag, "--", "dvc.lock", cwd=repository)
        run("dvc", "push", "-q", cwd=repository)
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("data")
    datadiff.main("first", "second", 0, None)
    assert "removed        2" in capsys.readouterr().out
    assert not [path for path in Path(".dvc/cache").rglob("*") if path.is_file() and not path.name.endswith(".dir")]


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("nowhere", "nowhere is no git revision, experiment, or `workspace`"),
        ("empty", "empty has no data/raw in its dvc.lock"),
        (
            "first",
            "first: neither DVC's cache nor the default remote has its list .*: .*`dvc push data/raw data/split`",
        ),
    ],
)
def test_what_is_not_there_is_named(repository, revision, sentence):
    shutil.rmtree(".dvc/cache")
    with pytest.raises(UserError, match=sentence):
        read(revision)


def test_a_remote_that_does_not_answer_is_named(repository):
    run("dvc", "remote", "add", "-q", "-d", "team", "ssh://nobody@127.0.0.1:9/darkroom", cwd=repository)
    shutil.rmtree(".dvc/cache")
    with pytest.raises(UserError, match=r"the DVC remote does not give \w+\.dir, a list of pictures \("):
        read("second")


def test_outside_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for revision in ("HEAD", "workspace"):
        with pytest.raises(UserError, match="no git repository with DVC"):
            read(revision)


@pytest.mark.full
def test_all_who_name_the_data_agree(project, tmp_path):
    """One picture more and one relabelled: DVC, datadiff, the model card and MLflow."""
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    coats = sorted((folder / "data/incoming/Coat").iterdir())
    coats[0].rename(folder / "data/incoming/Bag" / coats[0].name)
    save(folder / "data/incoming/Coat/another.png", np.full((28, 28, 3), 90, "uint8"))
    for key, value in (
        ("train.head.type", "logistic"), ("evaluate.grad_cam", 0), ("evaluate.label_issues", 0),
        ("split.method", "stable"), ("export.formats", ["onnx"]), ("evaluate.bootstrap", 100),
    ):  # fmt: skip
        set_param(folder, key, value)
    run("dvc", "repro", cwd=folder)
    status = json.loads(run("dvc", "data", "status", "--granular", "--json", cwd=folder).stdout)["committed"]
    said = run("python", "-m", "stages.datadiff", "HEAD", "--csv", "changes.csv", cwd=folder).stdout
    rows = read_csv(folder / "changes.csv")
    in_raw = {kind: [item for item in status[kind] if "data/raw/" in str(item)] for kind in ("added", "renamed")}
    assert in_raw["added"] == ["data/raw/train/Coat/another.png"]
    assert [row["path_b"] for row in rows if row["change"] == "added"] == ["Coat/another.png"]
    (renamed,) = in_raw["renamed"]
    (row,) = [row for row in rows if "label changed" in row["change"]]
    assert (row["path_a"], row["path_b"]) == tuple(
        path.removeprefix("data/raw/train/") for path in (renamed["old"], renamed["new"])
    )
    locked = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    card = (folder / "exports/MODEL_CARD.md").read_text()
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("darkroom").experiment_id
    tags = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0].data.tags
    for stage, name in (("download", "raw"), ("split", "split")):
        md5 = next(out["md5"] for out in locked[stage]["outs"] if out["path"] == f"data/{name}")
        assert md5 in said
        assert f"data/{name} `{md5}`" in card
        assert tags[f"data.{name}.md5"] == md5
    assert f"git log -S {md5} dvc.lock" in card
