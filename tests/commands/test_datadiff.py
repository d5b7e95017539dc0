"""The pictures that differ between two versions of the data, by what DVC recorded."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from dvc.repo import Repo
from hypothesis import given
from hypothesis import strategies as st

from darkroom.commands.datadiff import command as datadiff
from darkroom.commands.datadiff.changes import Change, differences
from darkroom.commands.datadiff.versions import LEFT_OUT, Picture, pictures, read
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv
from darkroom.core.hashing import listing_md5, md5s
from darkroom.core.yaml import read_yaml
from tests.helpers.project import commit, identify, run

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
    left = Counter(change.before for change in changes if change.before)
    joined = Counter(change.after for change in changes if change.after)
    assert a - left + joined == b
    assert not left - a
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
    """Content with more copies in B was added that often, and labels change no more often than they must."""
    changes = differences(a, b)
    for md5 in "abc":
        sides = [Counter({p: n for p, n in side.items() if p.md5 == md5}) for side in (a, b)]
        its = [change for change in changes if md5 in {side.md5 for side in (change.before, change.after) if side}]
        added = sum(change.kinds == ["added"] for change in its)
        removed = sum(change.kinds == ["removed"] for change in its)
        assert min(added, removed) == 0
        assert added - removed == sides[1].total() - sides[0].total()
        labels = [Counter(p.label for p in side.elements()) for side in sides]
        least = min((labels[0] - labels[1]).total(), (labels[1] - labels[0]).total())
        assert sum("label changed" in change.kinds for change in its) == least


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


def write(folder, files):
    """Replace a folder's files."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


def write_data(parts):
    """Write data/split, and data/raw with all pictures in train, and have DVC record them as after `dvc repro`."""
    raw = {"/".join(("train", *path.split("/")[1:])): content for path, content in parts.items()}
    write(Path("data/raw"), raw)
    write(Path("reports"), {"groups.csv": "".join(f"{path},{content}\n" for path, content in sorted(raw.items()))})
    write(Path("data/split"), parts)
    with Repo() as repo:
        repo.commit(force=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A git repository with a DVC pipeline that makes data/raw and data/split; three tags, and an experiment."""
    folder = tmp_path_factory.mktemp("versions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("git", "init", "-q", cwd=folder)
        identify(folder)
        commit(folder, "no data")
        run("git", "tag", "empty", cwd=folder)
        Repo.init().close()
        Path("dvc.yaml").write_text(
            "stages:\n"
            "  download: {cmd: 'false', outs: [data/raw, reports/groups.csv]}\n"
            "  split: {cmd: 'false', deps: [reports/groups.csv], outs: [data/split]}\n"
        )
        Path(".gitignore").write_text("/data/*\n")
        for tag, parts in (("first", FIRST), ("second", SECOND), ("third", FIRST)):
            write_data(parts)
            commit(folder, tag)
            run("git", "tag", tag, cwd=folder)
        # As `dvc exp run -n back` keeps the third on top of the second.
        baseline, experiment = (
            run("git", "rev-parse", name, cwd=folder).stdout.strip() for name in ("second", "third")
        )
        run("git", "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/back", experiment, cwd=folder)
        run("git", "reset", "-q", "--hard", "second", cwd=folder)
        write_data(SECOND)
    return folder


@pytest.fixture
def repository(built, tmp_path, monkeypatch):
    """A copy of it as the current folder; DVC remembers nothing of other tests here."""
    folder = tmp_path / "repository"
    shutil.copytree(built, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return folder


def set_remote(url):
    """Make a remote DVC's default."""
    Path(".dvc/config").write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {url}\n")


def test_every_kind_of_change(repository, capsys):
    datadiff.main("first", "second", 20, Path("changes.csv"))
    output = capsys.readouterr().out
    summary, classes, listed = output.split("\n\n")[2:]
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
    locked = read_yaml(Path("dvc.lock"))["stages"]
    datadiff.main("first", "workspace", 0, None)
    output = capsys.readouterr().out
    for stage, folder in (("download", "data/raw"), ("split", "data/split")):
        (out,) = (out for out in locked[stage]["outs"] if out["path"] == folder)
        assert f"{out['md5']}\n" in output.split("\n\n")[1] + "\n"
        assert out["md5"] == listing_md5(md5s(Path(folder)))


def test_the_same_data_is_one_line(repository, capsys):
    for a, b in (("second", "workspace"), ("second", "HEAD"), ("first", "back")):
        datadiff.main(a, b, 20, None)
        version = read(a)
        line = f"The same data: data/raw {version.raw_md5}, data/split {version.split_md5}.\n"
        assert capsys.readouterr().out == line


def test_a_split_that_is_older_than_the_pictures_is_not_compared(repository, capsys):
    write(Path("data/raw"), {f"train/{path.partition('/')[2]}": text for path, text in FIRST.items()})
    Path("data/raw/train/cat/9.png").write_text("lynx")
    Path("reports/groups.csv").write_text("another")
    with Repo() as repo:
        repo.commit("download", force=True)
    datadiff.main("first", "workspace", 20, None)
    output = capsys.readouterr().out
    assert "Splits are not compared: workspace has no data/split of its pictures yet." in output
    assert [line.split() for line in output.splitlines() if line.startswith(("added", "split changed"))] == [
        ["added", "1"], ["split", "changed", "0"], ["added", "cat/9.png", "train"],
    ]  # fmt: skip


def test_lists_come_from_the_remote_and_no_picture_with_them(repository, tmp_path, capsys):
    """The remote is newer than both revisions."""
    set_remote(tmp_path / "remote")
    for tag in ("first", "second"):
        run("git", "checkout", "-q", tag, "--", "dvc.lock", cwd=repository)
        with Repo() as repo:
            assert repo.push() > 0
    shutil.rmtree(".dvc/cache")
    shutil.rmtree("data")
    datadiff.main("first", "second", 0, None)
    assert "removed        2" in capsys.readouterr().out
    assert not [path for path in Path(".dvc/cache").rglob("*") if path.is_file() and not path.name.endswith(".dir")]


def test_what_is_missing_is_named(repository):
    shutil.rmtree(".dvc/cache")
    for revision, sentence in (
        ("nowhere", "nowhere is not a git revision, an experiment, or `workspace`"),
        ("empty", "empty has no data/raw in its dvc.lock"),
        ("first", "neither DVC's cache nor the default remote has the list of pictures of first: run `dvc push data/"),
    ):
        with pytest.raises(UserError, match=sentence):
            read(revision)
    set_remote("ssh://nobody@127.0.0.1:9/darkroom")
    with pytest.raises(UserError, match=r"\w+\.dir, a list of pictures, cannot be read from the DVC remote \("):
        read("second")


def test_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for revision in ("HEAD", "workspace"):
        with pytest.raises(UserError, match=r"this folder has no \.dvc: run from the project's root"):
            read(revision)
