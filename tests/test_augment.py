import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import augment
from stages.common import seeds
from stages.common.params import Base
from stages.common.pictures import decode
from tests.conftest import save

TUTORIAL = augment.PRESETS["tutorial"]
NOTHING = augment.Preset(rotation=0, shift=0, shear=0, zoom=0, flip=False)


@pytest.fixture
def unbalanced(workspace, fashion):
    """Training pictures of three classes: 20, 7 and 3."""
    for label, count in (("Bag", 20), ("Coat", 7), ("Dress", 3)):
        for path in sorted((fashion[0] / "train" / label).iterdir())[:count]:
            (workspace / "data/split/train" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, workspace / "data/split/train" / label)
    return workspace


def made(workspace, target, seed=42):
    augment.main(Base(seed=seed), augment.Params(target=target, preset="tutorial"))
    files = sorted((workspace / "data/augmented").rglob("*.png"))
    return {path.relative_to(workspace / "data/augmented").as_posix(): path.read_bytes() for path in files}


def counts(pictures):
    return {label: sum(name.startswith(label) for name in pictures) for label in ("Bag", "Coat", "Dress")}


@pytest.mark.parametrize(
    ("target", "added"),
    [
        ("max", {"Bag": 0, "Coat": 13, "Dress": 17}),
        (10, {"Bag": 0, "Coat": 3, "Dress": 7}),
        (25, {"Bag": 5, "Coat": 18, "Dress": 22}),
        ("none", {"Bag": 0, "Coat": 0, "Dress": 0}),
    ],
)
def test_every_class_reaches_the_target(unbalanced, target, added):
    assert counts(made(unbalanced, target)) == added
    report = json.loads((unbalanced / "reports/augment.json").read_text())
    assert report["Coat"] == {"pictures": 7, "added": added["Coat"]}


def test_a_new_picture_depends_on_its_source_the_seed_and_its_number_alone(unbalanced):
    first, other = made(unbalanced, "max"), made(unbalanced, "max", seed=43)
    for path in sorted((unbalanced / "data/split/train/Bag").iterdir())[10:]:
        path.unlink()
    fewer = made(unbalanced, "max")
    assert len(fewer) == 10
    assert all(first[name] == data for name, data in fewer.items())
    assert not set(first.values()) & set(other.values())
    assert len(set(first.values())) == len(first)


def test_pictures_with_one_stem_do_not_meet(unbalanced):
    for ending in ("bmp", "tiff", "gif"):
        path = sorted((unbalanced / "data/split/train/Dress").iterdir())[0]
        save(path.with_suffix(f".{ending}"), decode(path)[::-1])
    assert counts(made(unbalanced, "max"))["Dress"] == 14


def test_no_change_is_the_picture_itself(pictures):
    image = decode(pictures[0])
    assert (augment.augmented(image, NOTHING, seeds.stream(1)) == image).all()


def test_flipping_alone_mirrors(pictures):
    image, flip = decode(pictures[0]), NOTHING._replace(flip=True)
    kinds = [augment.augmented(image, flip, seeds.stream(1, number)) for number in range(40)]
    mirrored = [(kind == image[:, ::-1]).all() for kind in kinds]
    assert all(same or (kind == image).all() for kind, same in zip(kinds, mirrored, strict=True))
    assert 8 < sum(mirrored) < 32


def test_shifting_alone_moves_and_fills_with_the_nearest_pixel(tmp_path):
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, :10] = 200
    for number in range(20):
        moved = augment.augmented(image, NOTHING._replace(shift=0.2), seeds.stream(3, number))
        assert (moved == moved[:1]).all()  # rows stay alike
        edge = int((moved[0, :, 0] > 100).sum())
        assert 6 <= edge <= 14
        assert set(np.unique(moved[0, [0, -1]])) == {0, 200}


@given(st.integers(0, 2**32 - 1), st.integers(8, 300), st.integers(8, 300))
def test_the_tutorials_ranges_are_kept(seed, height, width):
    matrix = augment.affine(height, width, TUTORIAL, np.random.default_rng(seed))
    linear = matrix[:2, :2]
    angle = np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))
    angle = (angle + 90) % 180 - 90  # a flipped picture's first axis points the other way
    assert abs(angle) <= 40 + 1e-6
    lengths = np.linalg.norm(linear, axis=0)
    assert (np.abs(lengths - 1) <= 0.2 + 1e-6).all()
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    assert (np.abs((matrix @ centre - centre)[:2]) <= 0.2 * np.array([width, height]) + 1e-6).all()


def test_keeps_the_size_of_any_picture(tmp_path):
    save(tmp_path / "x.png", np.random.default_rng(1).integers(0, 255, (31, 57, 3), np.uint8))
    assert augment.augmented(decode(tmp_path / "x.png"), TUTORIAL, seeds.stream(1)).shape == (31, 57, 3)
