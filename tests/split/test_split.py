import hashlib
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.core.files import write_csv
from darkroom.images.folders import PARTS
from darkroom.split import groups as leaks
from darkroom.split import methods
from stages import split
from tests.helpers.project import ROOT, run

METHODS = ("ratio", "fixed", "kfold", "ordered", "stable")
RATIO = [0.7, 0.1, 0.2]


def params(method="ratio", **changes):
    return split.Params(**{"method": method, "ratio": RATIO, "fixed": [3, 4] if method == "fixed" else None} | changes)


def make(root, counts, part="train"):
    """Tiny files: `counts` says how many of each class. The split stage reads no pixels."""
    for label, count in counts.items():
        (root / part / label).mkdir(parents=True)
        for number in range(count):
            (root / part / label / f"{part}{number:03d}.png").write_bytes(f"{part} {label} {number}".encode())
    return root


def rows(raw, groups=()):
    """What the download stage says of each picture; each of `groups` is a set of near-duplicates."""
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    group = {name: str(number) for number, members in enumerate(groups, start=1) for name in members}
    return {
        name: {"picture": name, "hash": hashlib.sha256(name.encode()).hexdigest()[:16], "group": group.get(name, "")}
        for name in names
    }


def splitted(raw, settings_, seed=1, groups=()):
    return split.split(raw, rows(raw, groups), settings_, seed)


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    counts=st.dictionaries(st.sampled_from("abcd"), st.integers(12, 40), min_size=2),
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
        raw = make(Path(scratch) / "raw", counts)
        for part in official:
            make(raw, dict.fromkeys(counts, 3), part)
        names = sorted(rows(raw))
        groups = data.draw(st.lists(st.sets(st.sampled_from(names), min_size=2, max_size=6), max_size=4))
        groups = [group - set().union(*groups[:number]) for number, group in enumerate(groups)]
        where, gone, _ = splitted(
            raw, params(method, ratio=ratio, near_duplicates_together=together), seed=seed, groups=groups
        )
        assert set(where) | set(gone) == set(names)
        assert not set(where) & set(gone)
        for part in official:
            stays = {name for name in names if name.startswith(f"{part}/")} - set(gone)
            assert {where[name] for name in stays} <= {part}
            assert part == "val" or not any(name.startswith("test/") for name in gone)
            assert {name for name in where if where[name] == part} == stays
        if together:
            assert all(len({where[name] for name in group if name in where}) < 2 for group in groups)
            assert all(twin in where for twin in gone.values())
        else:
            assert gone == {}
        # Groups aside, the parts have the sizes that were asked for.
        if method == "ratio" and not groups:
            shares = {part: share for part, share in zip(PARTS, ratio, strict=True) if part not in official}
            got = Counter((name.split("/")[1], part) for name, part in where.items() if name.startswith("train/"))
            for part, share in shares.items():
                for label, count in counts.items():
                    assert abs(got[label, part] - count * share / sum(shares.values())) < 2


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_and_nothing_else(method, tmp_path):
    raw = make(tmp_path / "raw", {"a": 40, "b": 30})
    first, again, other = (splitted(raw, params(method), seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert (first == other) == (method == "ordered")


def test_fixed_numbers_of_each_class(tmp_path):
    raw = make(tmp_path / "raw", {"a": 40, "b": 30})
    where, _, _ = splitted(raw, params("fixed", fixed=[5, 8]))
    counts = split.check(where)
    assert counts == {"a": {"train": 27, "val": 5, "test": 8}, "b": {"train": 17, "val": 5, "test": 8}}
    make(raw, {"a": 3, "b": 3}, "test")
    assert split.check(splitted(raw, params("fixed", fixed=[5, 8]))[0])["a"] == {"train": 35, "val": 5, "test": 3}


def test_too_large_numbers_name_the_class(tmp_path):
    raw = make(tmp_path / "raw", {"a": 40, "b": 10})
    with pytest.raises(UserError, match=r"asks for 13 pictures of each class, but b has 10"):
        splitted(raw, params("fixed", fixed=[5, 8]))


def test_folds_are_val_in_turn_and_test_stays(tmp_path):
    raw = make(tmp_path / "raw", {"a": 40, "b": 30})
    groups = [{f"train/a/train{number:03d}.png" for number in range(5)}]
    folds = [splitted(raw, params("kfold", folds=4, fold=fold), groups=groups)[0] for fold in (1, 2, 3, 4)]
    parts = [{part: {name for name in fold if fold[name] == part} for part in PARTS} for fold in folds]
    assert all(part["test"] == parts[0]["test"] for part in parts)
    assert len(parts[0]["test"]) == pytest.approx(14, abs=5)  # a group counts as one
    everything = [name for part in parts for name in part["val"]]
    assert sorted(everything) == sorted(set(folds[0]) - parts[0]["test"])


def test_folds_and_an_official_val_do_not_go_together(tmp_path):
    raw = make(make(tmp_path / "raw", {"a": 10, "b": 10}), {"a": 3, "b": 3}, "val")
    with pytest.raises(UserError, match="kfold makes val itself, but the pictures come with an official val"):
        splitted(raw, params("kfold"))


@pytest.mark.parametrize(
    ("hold_out", "fixed", "official", "expected"),
    [
        ("last", None, False, {"train": range(14), "val": range(14, 16), "test": range(16, 20)}),
        ("first", None, False, {"test": range(4), "val": range(4, 6), "train": range(6, 20)}),
        ("last", [5, 1], False, {"train": range(14), "val": range(14, 19), "test": range(19, 20)}),
        ("last", [5, 1], True, {"train": range(15), "val": range(15, 20)}),  # as with MNIST's last 500 rows
        ("first", None, True, {"val": range(2), "train": range(2, 20)}),  # as with Fashion-MNIST's first tenth
    ],
)
def test_rows_in_order(hold_out, fixed, official, expected, tmp_path):
    for number in range(20):
        (tmp_path / "raw/train" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw/train" / "ab"[number % 2] / f"{number:06d}.png").write_bytes(b"%d" % number)
    if official:
        make(tmp_path / "raw", {"a": 2, "b": 2}, "test")
    ratio = [0.9, 0.1, 0.0] if official else RATIO
    where, _, _ = splitted(tmp_path / "raw", params("ordered", hold_out=hold_out, fixed=fixed, ratio=ratio))
    got = {part: sorted(int(n[-10:-4]) for n in where if where[n] == part and n[:5] == "train") for part in expected}
    assert got == {part: list(numbers) for part, numbers in expected.items()}


def test_nothing_left_to_train_on_is_said(tmp_path):
    raw = make(tmp_path / "raw", {"a": 4, "b": 4})
    with pytest.raises(UserError, match=r"9 of 8 pictures are held out: lower split.fixed"):
        splitted(raw, params("ordered", fixed=[4, 5]))


@settings(deadline=None)
@given(
    keys=st.dictionaries(st.text(min_size=1), st.text("01", min_size=8, max_size=8), min_size=2, max_size=40),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
def test_stable_moves_no_picture_when_others_come_or_go(keys, data, seed):
    shares = dict(zip(PARTS, RATIO, strict=True))
    whole = methods.by_hash(keys, shares, seed)
    fewer = {name: keys[name] for name in data.draw(st.sets(st.sampled_from(sorted(keys))))}
    assert methods.by_hash(fewer, shares, seed) == {name: whole[name] for name in fewer}
    assert all(whole[a] == whole[b] for a in keys for b in keys if keys[a] == keys[b])


def test_stable_keeps_its_places_where_a_draw_does_not(tmp_path):
    """One more picture in a class of 300, and what it does to the others."""
    raw = make(tmp_path / "raw", {"a": 300, "b": 300})
    before = {method: splitted(raw, params(method))[0] for method in ("stable", "ratio")}
    (raw / "train/a/train000a.png").write_bytes(b"new")
    after = {method: splitted(raw, params(method))[0] for method in ("stable", "ratio")}
    moved = {method: sum(after[method][name] != part for name, part in before[method].items()) for method in before}
    assert moved["stable"] == 0 < moved["ratio"]
    shares = Counter(before["stable"].values())
    assert [shares[part] / 600 for part in PARTS] == [pytest.approx(share, abs=0.06) for share in RATIO]


def test_stable_never_moves_a_twin_but_leaves_it_out(tmp_path):
    raw = make(tmp_path / "raw", {"a": 60, "b": 60})
    alone, _, _ = splitted(raw, params("stable"))
    tested, trained = (next(name for name in alone if alone[name] == part) for part in ("test", "train"))
    where, gone, _ = splitted(raw, params("stable"), groups=[{tested, trained}])
    assert gone == {trained: tested}
    assert where == {name: part for name, part in alone.items() if name != trained}


def test_names_that_match_stay_together(tmp_path):
    """Ten patients, each with pictures in both classes."""
    for patient in range(10):
        for label in "ab":
            for number in range(4):
                path = tmp_path / "raw/train" / label / f"patient{patient}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"%d" % number)
    for method in METHODS:
        fixed = [2, 3] if method == "fixed" else None
        where, gone, together = splitted(tmp_path / "raw", params(method, group=r"^(patient\d+)_", fixed=fixed))
        assert [len(group) for group in together] == [8] * 10
        assert not gone
        assert all(len({where[name] for name in group}) == 1 for group in together)
        assert len(where) == 80


def test_groups_in_several_classes_are_drawn_once(tmp_path):
    """Forty patients with up to six pictures in three classes: each is val once or test always, as a whole."""
    random = np.random.default_rng(3)
    for number in range(160):
        path = tmp_path / "raw/train" / "abc"[random.integers(3)] / f"p{random.integers(40)}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    folds = [splitted(tmp_path / "raw", params("kfold", fold=fold, group=r"^(p\d+)_"))[0] for fold in range(1, 6)]
    tests = [{name for name in fold if fold[name] == "test"} for fold in folds]
    assert all(test == tests[0] for test in tests)
    assert Counter(name for fold in folds for name in fold if fold[name] == "val") == dict.fromkeys(
        set(folds[0]) - tests[0], 1
    )


def test_a_pattern_that_is_in_no_name_is_refused(tmp_path):
    raw = make(tmp_path / "raw", {"a": 10, "b": 10})
    with pytest.raises(UserError, match=r"split.group \^p is in no picture's name, such as train000.png"):
        splitted(raw, params(group="^p"))


def test_a_pattern_with_alternatives(tmp_path):
    assert [leaks.named(r"^a(\d)|^b(\d)", f"train/x/{name}") for name in ("a1", "b2", "c3")] == ["1", "2", ""]


def test_numbers_in_names_are_in_their_order(tmp_path):
    for number in range(1, 21):
        path = tmp_path / "raw/train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    where, _, _ = splitted(tmp_path / "raw", params("ordered"))
    assert sorted(int(name[8:-4]) for name in where if where[name] == "test") == [17, 18, 19, 20]


def test_where_a_training_picture_has_a_twin_in_the_official_test_it_goes(tmp_path):
    raw = make(make(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3}, "test")
    twins = {"train/a/train004.png", "train/b/train007.png", "test/a/test001.png"}
    for method in METHODS:
        where, gone, _ = splitted(raw, params(method), groups=[twins])
        assert gone == dict.fromkeys(sorted(twins)[1:], "test/a/test001.png")
        assert len(where) == 44
    kept, gone, _ = splitted(raw, params(near_duplicates_together=False), groups=[twins])
    assert (gone, len(kept)) == ({}, 46)


def test_a_leak_that_is_left_fails(tmp_path):
    with pytest.raises(UserError, match=r"train/a/1.png in train and train/b/2.png in test belong together: that is"):
        leaks.check({"train/a/1.png": "train", "train/b/2.png": "test"}, [["train/a/1.png", "train/b/2.png"]])


@pytest.mark.parametrize("method", METHODS)
def test_the_stage_looks_for_leaks_after_all_is_done(method, tmp_path, monkeypatch):
    """If what mends the parts failed to, the stage would stop."""
    raw = make(make(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3}, "test")
    monkeypatch.setattr(leaks, "mend", lambda *_, **__: {})
    with pytest.raises(UserError, match=r"test/a/test001.png in test and train/a/train004.png in .* belong together"):
        splitted(raw, params(method), groups=[{"train/a/train004.png", "test/a/test001.png"}])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"method": "fixed", "fixed": None},
            "method fixed needs the numbers of pictures of each class for val and test",
        ),
        ({"folds": 3, "fold": 4}, "the folds are 1 to 3"),
        ({"group": "("}, "it is no regular expression"),
        ({"ratio": [0.5, 0.5, 0.5]}, "must be shares that add up to 1"),
    ],
)
def test_params_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        params(**changes)


def test_a_class_that_is_too_small_is_named(tmp_path):
    raw = make(tmp_path / "raw", {"large": 50, "small": 4})
    with pytest.raises(UserError, match="class small has 4 pictures and none of them falls into val: add pictures"):
        split.check(splitted(raw, params())[0])


def test_a_class_that_only_the_official_test_has_is_named(tmp_path):
    raw = make(make(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3, "c": 3}, "test")
    with pytest.raises(UserError, match="class c has 3 pictures and none of them falls into train"):
        split.check(splitted(raw, params())[0])


def test_one_class_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is only the class a"):
        split.check(splitted(make(tmp_path / "raw", {"a": 20}), params())[0])


@pytest.fixture
def downloaded(workspace):
    """A folder as the download stage leaves it."""

    def prepare(counts):
        raw = make(workspace / "data/raw", counts)
        write_csv(
            Path("reports/groups.csv"), ("picture", "hash", "group"), [row.values() for row in rows(raw).values()]
        )
        return raw

    return prepare


def test_the_command_clears_what_was_there_and_lists_every_picture(workspace, downloaded):
    raw = downloaded({"a": 20, "b": 20})
    stale = workspace / "data/split/train/a/stale.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    run("python", "-m", "stages.split", cwd=workspace, PYTHONPATH=str(ROOT))
    assert not stale.exists()
    lines = (workspace / "reports/split.csv").read_text().splitlines()
    assert lines[0] == "picture,class,split"
    assert len(lines) == 41
    assert all((workspace / "data/split" / line.split(",")[0]).exists() for line in lines[1:])
    report = json.loads((workspace / "reports/split.json").read_text())
    assert (report["classes"]["a"], report["left_out"]) == ({"train": 14, "val": 2, "test": 4}, [])
    # No bytes are copied, and no link points anywhere.
    inodes = {path.stat().st_ino for path in raw.rglob("*.png")}
    placed = list((workspace / "data/split").rglob("*.png"))
    assert {path.stat().st_ino for path in placed} == inodes
    assert not any(path.is_symlink() for path in placed)


def test_a_failed_split_leaves_the_last_one_alone(workspace, downloaded):
    downloaded({"a": 20, "b": 2})
    kept = workspace / "data/split/train/a/kept.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    done = run("python", "-m", "stages.split", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr.splitlines()[-1][:33]) == (1, "split: class b has 2 pictures and")
    assert kept.exists()
