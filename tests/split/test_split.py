import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.files import write_csv
from darkroom.core.hashing import md5s
from darkroom.core.params import Base
from darkroom.images.folders import PARTS
from stages import split
from tests.helpers.project import ROOT, run
from tests.helpers.split_files import METHODS, RATIO, group_rows, make_raw, split_of, split_params, write_files


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    counts=st.dictionaries(st.sampled_from("abcd"), st.integers(12, 20), min_size=2),
    ratio=st.sampled_from([RATIO, [0.5, 0.25, 0.25], [0.34, 0.33, 0.33]]),
    official=st.sampled_from([(), ("test",), ("val",), ("val", "test")]),
    seed=st.integers(0, 2**32 - 1),
    together=st.booleans(),
    data=st.data(),
)
def test_every_picture_is_in_one_part_and_no_group_in_two(method, counts, ratio, official, seed, together, data):
    if method == "kfold" and "val" in official:
        official = ("test",)
    with tempfile.TemporaryDirectory() as scratch:
        raw = make_raw(Path(scratch) / "raw", counts)
        for part in official:
            make_raw(raw, dict.fromkeys(counts, 3), part)
        names = sorted(group_rows(raw))
        groups = data.draw(st.lists(st.sets(st.sampled_from(names), min_size=2, max_size=6), max_size=4))
        groups = [group - set().union(*groups[:number]) for number, group in enumerate(groups)]
        parts, left_out, _ = split_of(
            raw, split_params(method, ratio=ratio, near_duplicates_together=together), seed, groups
        )
        assert set(parts) | set(left_out) == set(names)
        assert not set(parts) & set(left_out)
        for part in official:
            stays = {name for name in names if name.startswith(f"{part}/")} - set(left_out)
            assert {parts[name] for name in stays} <= {part}
            assert part == "val" or not any(name.startswith("test/") for name in left_out)
            assert {name for name in parts if parts[name] == part} == stays
        if together:
            assert all(len({parts[name] for name in group if name in parts}) < 2 for group in groups)
            assert all(held_out in parts for held_out in left_out.values())
        else:
            assert left_out == {}
        # Groups aside, the parts have the requested sizes.
        if method == "ratio" and not groups:
            shares = {part: share for part, share in zip(PARTS, ratio, strict=True) if part not in official}
            sizes = Counter((name.split("/")[1], part) for name, part in parts.items() if name.startswith("train/"))
            for part, share in shares.items():
                for label, count in counts.items():
                    assert abs(sizes[label, part] - count * share / sum(shares.values())) < 2


def test_stable_never_moves_a_near_duplicate_but_leaves_it_out(tmp_path):
    raw = make_raw(tmp_path / "raw", {"a": 60, "b": 60})
    alone, _, _ = split_of(raw, split_params("stable"))
    tested, trained = (next(name for name in alone if alone[name] == part) for part in ("test", "train"))
    parts, left_out, _ = split_of(raw, split_params("stable"), groups=[{tested, trained}])
    assert left_out == {trained: tested}
    assert parts == {name: part for name, part in alone.items() if name != trained}


def test_names_with_the_same_match_stay_together(tmp_path):
    """Ten patients, each with pictures in both classes."""
    names = [f"train/{label}/patient{p}_{number}.png" for p in range(10) for label in "ab" for number in range(2)]
    raw = write_files(tmp_path / "raw", names)
    for method in METHODS:
        fixed = [2, 3] if method == "fixed" else None
        parts, left_out, groups = split_of(raw, split_params(method, group=r"^(patient\d+)_", fixed=fixed))
        assert [len(group) for group in groups] == [4] * 10
        assert not left_out
        assert all(len({parts[name] for name in group}) == 1 for group in groups)
        assert len(parts) == 40


def test_a_pattern_that_is_in_no_name_is_refused(tmp_path, capsys):
    raw = make_raw(tmp_path / "raw", {"a": 10, "b": 10})
    with pytest.raises(UserError, match=r"split.group \^p is in no picture's name, such as train000.png"):
        split_of(raw, split_params(group="^p"))
    split_of(raw, split_params(group="00[0-4]"))
    assert "split: 10 pictures have no match of split.group in their names, such as train/a/train005.png" in (
        capsys.readouterr().out
    )


def test_a_training_picture_with_a_near_duplicate_in_the_official_test_is_left_out(tmp_path):
    raw = make_raw(make_raw(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3}, "test")
    group = {"train/a/train004.png", "train/b/train007.png", "test/a/test001.png"}
    for method in METHODS:
        parts, left_out, _ = split_of(raw, split_params(method), groups=[group])
        assert left_out == dict.fromkeys(sorted(group)[1:], "test/a/test001.png")
        assert len(parts) == 44
    parts, left_out, _ = split_of(raw, split_params(near_duplicates_together=False), groups=[group])
    assert (left_out, len(parts)) == ({}, 46)


@pytest.mark.parametrize("method", METHODS)
def test_the_stage_checks_for_leaks_at_the_end(method, tmp_path, monkeypatch):
    """If resolving groups failed, the stage would stop."""
    raw = make_raw(make_raw(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3}, "test")
    monkeypatch.setattr(split, "resolve", lambda *_, **__: {})
    with pytest.raises(UserError, match=r"test/a/test001.png in test and train/a/train004.png in .* belong together"):
        split_of(raw, split_params(method), groups=[{"train/a/train004.png", "test/a/test001.png"}])


def test_a_class_that_is_too_small_is_named(tmp_path):
    raw = make_raw(tmp_path / "raw", {"large": 50, "small": 4})
    with pytest.raises(UserError, match="class small has 4 pictures and none of them falls into val: add pictures"):
        split.class_counts(split_of(raw, split_params()).assignment)


def test_a_class_that_only_the_official_test_has_is_named(tmp_path):
    raw = make_raw(make_raw(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3, "c": 3}, "test")
    with pytest.raises(UserError, match="class c has 3 pictures and none of them falls into train"):
        split.class_counts(split_of(raw, split_params()).assignment)


def test_one_class_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is only the class a"):
        split.class_counts(split_of(make_raw(tmp_path / "raw", {"a": 20}), split_params()).assignment)


@pytest.fixture
def downloaded(workspace):
    """A folder as the download stage leaves it."""

    def prepare(counts, groups=()):
        raw = make_raw(workspace / "data/raw", counts)
        rows = list(group_rows(raw, groups).values())
        write_csv(Path("reports/groups.csv"), rows[0], [row.values() for row in rows])
        return raw

    return prepare


def test_the_command_clears_the_old_split_and_lists_every_picture(workspace, downloaded, capsys):
    raw = downloaded({"a": 20, "b": 20})
    stale = workspace / "data/split/train/a/stale.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    split.main(Base(seed=42), split_params())
    assert not stale.exists()
    assert capsys.readouterr().out == "split: 28 train, 4 val, 8 test\n"
    lines = (workspace / "reports/split.csv").read_text().splitlines()
    assert lines[0] == "picture,class,split,md5"
    assert len(lines) == 41
    assert {line.split(",")[0]: line.split(",")[3] for line in lines[1:]} == md5s(workspace / "data/split")
    report = json.loads((workspace / "reports/split.json").read_text())
    assert (report["classes"]["a"], report["left_out"]) == ({"train": 14, "val": 2, "test": 4}, [])
    # No bytes are copied, and there are no symbolic links.
    inodes = {path.stat().st_ino for path in raw.rglob("*.png")}
    linked = list((workspace / "data/split").rglob("*.png"))
    assert {path.stat().st_ino for path in linked} == inodes
    assert not any(path.is_symlink() for path in linked)


def test_a_split_that_leaves_out_most_pictures_is_refused(workspace, downloaded):
    """With stable, a group of 30 pictures is left out of train when some of them are held out."""
    downloaded({"a": 20, "b": 20}, [{f"train/{label}/train{n:03d}.png" for label in "ab" for n in range(5, 20)}])
    with pytest.raises(UserError, match=r"2\d pictures are left out, since near-duplicates are held out.*split.group"):
        split.main(Base(seed=42), split_params("stable"))


def test_a_failed_split_leaves_the_last_one_alone(workspace, downloaded):
    downloaded({"a": 20, "b": 2})
    kept = workspace / "data/split/train/a/kept.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    result = run("python", "-m", "stages.split", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert (result.returncode, result.stderr.splitlines()[-1][:33]) == (1, "split: class b has 2 pictures and")
    assert kept.exists()


@pytest.mark.parametrize("method", METHODS)
def test_decisions_on_labels_move_no_picture(method, tmp_path):
    """Those that get another label or are dropped are drawn as before, so that all others stay where they are."""
    names = [f"train/{label}/{number:03d}.png" for label in ("cat", "dog") for number in range(40)]
    groups = [names[3:5], [names[7], names[47]]]
    raw = write_files(tmp_path / "raw", names)
    rows = group_rows(raw, groups)
    before = split.split(raw, rows, split_params(method), seed=1).assignment
    moved, dropped = [names[3], names[20], names[47]], [names[4], names[30], names[60]]
    for name in moved:
        label = {"cat": "dog", "dog": "a new class"}[name.split("/")[1]]
        other = f"train/{label}/{Path(name).stem}__{name.split('/')[1]}.png"
        write_files(raw, [other])
        rows[other] = rows.pop(name) | {"picture": other, "decision": "relabel", "source": name}
        (raw / name).unlink()
    for name in dropped:
        rows[name] |= {"decision": "drop"}
        (raw / name).unlink()
    after = split.split(raw, rows, split_params(method), seed=1)
    by_source = {rows[name]["source"] or name: part for name, part in after.assignment.items()}
    assert by_source == {name: part for name, part in before.items() if name not in dropped}
    assert all(len(group) > 1 for group in after.groups)


@pytest.mark.parametrize("method", METHODS)
def test_pictures_that_people_labelled_are_for_train(method, tmp_path):
    names = [f"train/{label}/{number:03d}.png" for label in ("cat", "dog") for number in range(40)]
    raw = write_files(tmp_path / "raw", names)
    before = split.split(raw, group_rows(raw), split_params(method), seed=1).assignment
    labelled = [f"train/cat/new{number}.png" for number in range(20)]
    write_files(raw, labelled)
    rows = group_rows(raw)
    for name in labelled:
        rows[name] |= {"decision": "label", "source": f"unlabelled/{name.removeprefix('train/')}"}
    after = split.split(raw, rows, split_params(method), seed=1).assignment
    assert after == before | dict.fromkeys(labelled, "train")
