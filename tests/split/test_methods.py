from collections import Counter

import numpy as np
import pytest
import splitfolders
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.images.folders import PARTS
from darkroom.split import methods
from stages import split
from tests.helpers.split_files import METHODS, RATIO, make_raw, split_of, split_params, write_files


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_and_nothing_else(method, tmp_path):
    raw = make_raw(tmp_path / "raw", {"a": 20, "b": 15})
    first, again, other = (split_of(raw, split_params(method), seed).assignment for seed in (1, 1, 2))
    assert first == again
    assert (first == other) == (method == "ordered")


def test_fixed_numbers_of_each_class(tmp_path):
    raw = make_raw(tmp_path / "raw", {"a": 40, "b": 30})
    params = split_params("fixed", fixed=[5, 8])
    counts = split.class_counts(split_of(raw, params).assignment)
    assert counts == {"a": {"train": 27, "val": 5, "test": 8}, "b": {"train": 17, "val": 5, "test": 8}}
    make_raw(raw, {"a": 3, "b": 3}, "test")
    assert split.class_counts(split_of(raw, params).assignment)["a"] == {"train": 35, "val": 5, "test": 3}
    make_raw(raw, {"a": 2, "b": 2}, "val")
    assert split.class_counts(split_of(raw, params).assignment)["a"] == {"train": 40, "val": 2, "test": 3}


def test_too_large_numbers_name_the_class(tmp_path):
    raw = make_raw(tmp_path / "raw", {"a": 40, "b": 10})
    with pytest.raises(UserError, match=r"asks for 13 pictures of each class, but b has 10"):
        split_of(raw, split_params("fixed", fixed=[5, 8]))


def test_folds_are_val_in_turn_and_test_stays(tmp_path):
    raw = make_raw(tmp_path / "raw", {"a": 24, "b": 16})
    groups = [{f"train/a/train{number:03d}.png" for number in range(4)}]
    folds = [split_of(raw, split_params("kfold", folds=3, fold=fold), groups=groups)[0] for fold in (1, 2, 3)]
    parts = [{part: {name for name in fold if fold[name] == part} for part in PARTS} for fold in folds]
    assert all(part["test"] == parts[0]["test"] for part in parts)
    assert len(parts[0]["test"]) == pytest.approx(8, abs=4)  # a group counts as one
    everything = [name for part in parts for name in part["val"]]
    assert sorted(everything) == sorted(set(folds[0]) - parts[0]["test"])


def test_folds_and_an_official_val_do_not_go_together(tmp_path):
    raw = make_raw(make_raw(tmp_path / "raw", {"a": 10, "b": 10}), {"a": 3, "b": 3}, "val")
    with pytest.raises(UserError, match="kfold makes val itself, but the pictures come with an official val"):
        split_of(raw, split_params("kfold"))


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
    raw = write_files(tmp_path / "raw", [f"train/{'ab'[number % 2]}/{number:06d}.png" for number in range(20)])
    if official:
        make_raw(raw, {"a": 2, "b": 2}, "test")
    ratio = [0.9, 0.1, 0.0] if official else RATIO
    parts, _, _ = split_of(raw, split_params("ordered", hold_out=hold_out, fixed=fixed, ratio=ratio))
    numbers = {
        part: sorted(int(name[-10:-4]) for name in parts if parts[name] == part and name.startswith("train"))
        for part in expected
    }
    assert numbers == {part: list(rows) for part, rows in expected.items()}


def test_nothing_left_to_train_on_is_reported(tmp_path):
    raw = make_raw(tmp_path / "raw", {"a": 4, "b": 4})
    with pytest.raises(UserError, match=r"9 of 8 pictures are held out: lower split.fixed"):
        split_of(raw, split_params("ordered", fixed=[4, 5]))


def test_numbers_in_names_are_in_their_order(tmp_path):
    raw = write_files(tmp_path / "raw", [f"train/{'ab'[number % 2]}/{number}.png" for number in range(1, 21)])
    parts, _, _ = split_of(raw, split_params("ordered"))
    assert sorted(int(name[8:-4]) for name in parts if parts[name] == "test") == [17, 18, 19, 20]


CALLS = {
    "ratio": {"ratio": (0.7, 0.1, 0.2)},
    "fixed": {"fixed": [1, 2]},
    "kfold": {"k": 3},
}


@settings(max_examples=40)
@given(
    sizes=st.dictionaries(st.sampled_from(["a", "b c", "B", ".x"]), st.integers(1, 12), min_size=1),
    data=st.data(),
    method=st.sampled_from(sorted(CALLS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_drawn_is_what_split_folders_would_copy(sizes, data, method, seed, tmp_path_factory):
    """Against its public functions, which write a tree of files."""
    raw = make_raw(tmp_path_factory.mktemp("raw"), sizes)
    names = [f"train/{label}/train{number:03d}.png" for label, size in sizes.items() for number in range(size)]
    numbers = data.draw(st.lists(st.integers(0, 6), min_size=len(names), max_size=len(names)))
    members = [[name for name, number in zip(names, numbers, strict=True) if number == group] for group in range(1, 7)]
    groups = [group for group in members if len(group) > 1]
    task = methods.Task(names, {}, groups, {}, split_params(), seed)

    def grouped(files):
        pictures = {f"train/{file.parent.name}/{file.name}": file for file in sorted(files)}
        group_of = {name: number for number, group in enumerate(groups) for name in group}
        sets = {}
        for name, file in pictures.items():
            sets.setdefault(group_of.get(name, name), []).append(file)
        return [tuple(files) for files in sets.values()]

    out = raw.parent / f"{raw.name}.out"
    try:
        getattr(splitfolders, method)(raw / "train", out, seed=seed, move="symlink", group=grouped, **CALLS[method])
    except ValueError:
        with pytest.raises(ValueError, match="too few"):
            methods._draw(method, task, names, **CALLS[method])
        return
    for fold in ("fold_1", "fold_2", "fold_3") if method == "kfold" else ("",):
        expected = {
            f"train/{path.parent.name}/{path.name}": path.parent.parent.name for path in (out / fold).glob("*/*/*.png")
        }
        assert methods._draw(method, task, names, fold, **CALLS[method]) == expected


@settings(deadline=None)
@given(
    keys=st.dictionaries(st.text(min_size=1), st.text("01", min_size=8, max_size=8), min_size=2, max_size=40),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
)
def test_stable_moves_no_picture_when_others_are_added_or_removed(keys, data, seed):
    shares = dict(zip(PARTS, RATIO, strict=True))
    whole = methods.by_hash(keys, shares, seed)
    fewer = {name: keys[name] for name in data.draw(st.sets(st.sampled_from(sorted(keys))))}
    assert methods.by_hash(fewer, shares, seed) == {name: whole[name] for name in fewer}
    assert all(whole[a] == whole[b] for a in keys for b in keys if keys[a] == keys[b])


def test_stable_keeps_pictures_in_place_where_a_draw_does_not(tmp_path):
    """One more picture in a class of 150, and its effect on the others."""
    raw = make_raw(tmp_path / "raw", {"a": 150, "b": 150})
    before = {method: split_of(raw, split_params(method)).assignment for method in ("stable", "ratio")}
    write_files(raw, ["train/a/train000a.png"])
    after = {method: split_of(raw, split_params(method)).assignment for method in ("stable", "ratio")}
    moved = {method: sum(after[method][name] != part for name, part in before[method].items()) for method in before}
    assert moved["stable"] == 0 < moved["ratio"]
    shares = Counter(before["stable"].values())
    assert [shares[part] / 300 for part in PARTS] == [pytest.approx(share, abs=0.06) for share in RATIO]


def test_groups_in_several_classes_are_drawn_once(tmp_path):
    """Twenty-five patients with several pictures in three classes: each is val once or test always, as a whole."""
    random = np.random.default_rng(3)
    names = [f"train/{'abc'[random.integers(3)]}/p{random.integers(25)}_{number}.png" for number in range(90)]
    raw = write_files(tmp_path / "raw", names)
    folds = [
        split_of(raw, split_params("kfold", folds=3, fold=fold, group=r"^(p\d+)_")).assignment for fold in (1, 2, 3)
    ]
    tests = [{name for name in fold if fold[name] == "test"} for fold in folds]
    assert all(test == tests[0] for test in tests)
    assert Counter(name for fold in folds for name in fold if fold[name] == "val") == dict.fromkeys(
        set(folds[0]) - tests[0], 1
    )
