import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import split
from stages.common.errors import StageError
from stages.common.files import sha256
from stages.common.pictures import PARTS, labelled
from tests.conftest import ROOT, run


def make(root, counts, part="train"):
    """Tiny files: `counts` says how many of each class."""
    for label, count in counts.items():
        (root / part / label).mkdir(parents=True)
        for number in range(count):
            (root / part / label / f"{part}{number}.png").write_bytes(f"{part} {label} {number}".encode())
    return root


def parts(folder):
    return {part: labelled(folder / part) for part in PARTS if (folder / part).is_dir()}


@settings(max_examples=15, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcd"), st.integers(10, 40), min_size=2),
    ratio=st.sampled_from([[0.7, 0.1, 0.2], [0.5, 0.25, 0.25], [0.34, 0.33, 0.33]]),
    official=st.sampled_from([(), ("test",), ("val",), ("val", "test")]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_picture_is_in_one_part_and_official_parts_stay(counts, ratio, official, seed):
    with tempfile.TemporaryDirectory() as scratch:
        raw, out = make(Path(scratch) / "raw", counts), Path(scratch) / "split"
        for part in official:
            make(raw, dict.fromkeys(counts, 3), part)
        out.mkdir()
        split.split(raw, out, ratio, seed)
        where = parts(out)
        before = Counter(sha256(path) for path in raw.rglob("*.png"))
        assert before == Counter(sha256(path) for pictures in where.values() for path, _ in pictures)
        for part in official:
            assert sorted(p.read_bytes() for p, _ in where[part]) == sorted(
                p.read_bytes() for p, _ in labelled(raw / part)
            )
        shares = {part: share for part, share in zip(PARTS, ratio, strict=True) if part not in official}
        for part, share in shares.items():
            for label, count in counts.items():
                got = sum(picture.label == label for picture in where[part])
                assert abs(got - count * share / sum(shares.values())) < 2
        assert not any(path.is_symlink() for path in out.rglob("*"))


def test_the_seed_decides_and_nothing_else(fashion, tmp_path):
    chosen = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        split.split(fashion[0], tmp_path / name, [0.7, 0.1, 0.2], seed)
        chosen[name] = [path.relative_to(tmp_path / name) for path, _ in labelled(tmp_path / name / "val")]
    assert chosen["first"] == chosen["again"] != chosen["other"]
    assert len(chosen["first"]) == 80  # of 60 a class, 52 are int(52.5) and the last part gets the rest


def test_no_bytes_are_copied(fashion, tmp_path):
    raw = make(tmp_path / "raw", {"a": 10, "b": 10})
    split.split(raw, tmp_path / "split", [0.6, 0.2, 0.2], 1)
    inodes = {path.stat().st_ino for path in raw.rglob("*.png")}
    assert {path.stat().st_ino for path in (tmp_path / "split").rglob("*.png")} == inodes


def test_a_class_that_is_too_small_is_named(tmp_path):
    raw = make(tmp_path / "raw", {"large": 50, "small": 4})
    split.split(raw, tmp_path / "split", [0.7, 0.1, 0.2], 1)
    with pytest.raises(StageError, match="class small has 4 pictures and none of them falls into val: add pictures"):
        split.check(parts(tmp_path / "split"))


def test_a_class_that_only_the_official_test_has_is_named(tmp_path):
    raw = make(make(tmp_path / "raw", {"a": 20, "b": 20}), {"a": 3, "b": 3, "c": 3}, "test")
    split.split(raw, tmp_path / "split", [0.7, 0.1, 0.2], 1)
    with pytest.raises(StageError, match="class c has 3 pictures and none of them falls into train"):
        split.check(parts(tmp_path / "split"))


def test_one_class_is_refused(tmp_path):
    split.split(make(tmp_path / "raw", {"a": 20}), tmp_path / "split", [0.7, 0.1, 0.2], 1)
    with pytest.raises(StageError, match="there is only the class a"):
        split.check(parts(tmp_path / "split"))


def test_the_command_clears_what_was_there_and_lists_every_picture(workspace):
    make(workspace / "data/raw", {"a": 20, "b": 20})
    stale = workspace / "data/split/train/a/stale.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    run("python", "-m", "stages.split", cwd=workspace, PYTHONPATH=str(ROOT))
    assert not stale.exists()
    lines = (workspace / "reports/split.csv").read_text().splitlines()
    assert lines[0] == "picture,class,split"
    assert len(lines) == 41
    assert all((workspace / "data/split" / line.split(",")[0]).exists() for line in lines[1:])


def test_a_failed_split_leaves_the_last_one_alone(workspace):
    make(workspace / "data/raw", {"a": 20, "b": 2})
    kept = workspace / "data/split/train/a/kept.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    done = run("python", "-m", "stages.split", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr.splitlines()[-1][:33]) == (1, "split: class b has 2 pictures and")
    assert kept.exists()
