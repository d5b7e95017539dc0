import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.augment.transforms import PRESETS, Transforms, affine, apply, draw
from darkroom.core import seeds
from darkroom.core.files import read_csv
from darkroom.core.params import Base
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from stages import augment
from tests.helpers.pictures import save
from tests.helpers.project import ROOT, run

TUTORIAL = PRESETS["tutorial"]


@pytest.fixture
def unbalanced(workspace, fashion):
    """Training pictures of three classes: 20, 7 and 3."""
    for label, count in (("Bag", 20), ("Coat", 7), ("Dress", 3)):
        for path in sorted((fashion[0] / "train" / label).iterdir())[:count]:
            (workspace / "data/split/train" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, workspace / "data/split/train" / label)
    return workspace


def made(workspace, target, seed=42, **params):
    augment.main(Base(seed=seed), augment.Params(**{"target": target, "preset": "tutorial"} | params))
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
@pytest.mark.parametrize("undersample", [False, True])
def test_every_class_reaches_the_target(unbalanced, target, added, undersample):
    assert counts(made(unbalanced, target, undersample=undersample)) == added
    report = json.loads((unbalanced / "reports/augment.json").read_text())
    left_out = 10 if target == 10 and undersample else 0
    assert report["Bag"] == {"pictures": 20, "added": added["Bag"], "left_out": left_out}
    assert report["Coat"] == {"pictures": 7, "added": added["Coat"], "left_out": 0}
    # What the next stage takes to train on.
    used = counts([picture.label for picture in listed("train")])
    assert used == {label: row["pictures"] + row["added"] - row["left_out"] for label, row in report.items()}


@given(st.integers(1, 30), st.integers(0, 100))
def test_the_pictures_of_a_class_take_turns_until_the_target(count, target):
    paths = [Path(f"{number}.png") for number in range(count)]
    jobs = list(augment.plan(paths, target, Path("x")))
    assert len(jobs) == max(target - count, 0)
    assert len({job.target for job in jobs}) == len({(job.source, job.number) for job in jobs}) == len(jobs)
    uses = [sum(job.source == path for job in jobs) for path in paths]
    assert max(uses) - min(uses) <= 1


def test_which_pictures_are_left_out_depends_on_content_and_seed_alone(unbalanced):
    def left_out(seed):
        made(unbalanced, 10, seed=seed, undersample=True)
        return {row["picture"] for row in read_csv(unbalanced / "data/augmented/.left_out.csv")}

    first, again, other = left_out(1), left_out(1), left_out(2)
    assert len(first) == 10
    assert first == again != other
    kept = sorted({path.name for path in (unbalanced / "data/split/train/Bag").iterdir()} - {n[4:] for n in first})
    (unbalanced / "data/split/train/Bag" / kept[0]).unlink()
    assert len(left_out(1)) == 9
    assert left_out(1) < first


def test_a_new_picture_depends_on_its_source_the_seed_and_its_number_alone(unbalanced):
    first, other = made(unbalanced, "max"), made(unbalanced, "max", seed=43)
    for path in sorted((unbalanced / "data/split/train/Bag").iterdir())[10:]:
        path.unlink()
    fewer = made(unbalanced, "max")
    assert len(fewer) == 10
    assert all(first[name] == data for name, data in fewer.items())
    assert not set(first.values()) & set(other.values())
    assert len(set(first.values())) == len(first)


def test_the_number_of_cores_changes_nothing(unbalanced):
    """Two real processes: one on all cores, one on a single core with one thread an operation."""
    params = unbalanced / "params.yaml"
    params.write_text(
        params.read_text().replace("noise: null", "noise: 0.1").replace("contrast: null", "contrast: 0.2")
    )
    results = []
    for command in (["python"], ["taskset", "-c", "0", "python"]):
        run(*command, "-m", "stages.augment", cwd=unbalanced, PYTHONPATH=str(ROOT))
        files = sorted(path for path in (unbalanced / "data/augmented").rglob("*") if path.is_file())
        results.append([path.read_bytes() for path in files] + [(unbalanced / "reports/augment.jpg").read_bytes()])
    assert len(results[0]) == 32
    assert results[0] == results[1]


def test_before_and_after_are_shown(unbalanced):
    made(unbalanced, "max")
    with Image.open(unbalanced / "reports/augment.jpg") as sheet:
        assert sheet.width >= 10 * 96
        assert sheet.height >= 2 * 96
    made(unbalanced, "none")
    with Image.open(unbalanced / "reports/augment.jpg") as sheet:
        assert sheet.height < 150


def test_pictures_with_one_stem_do_not_meet(unbalanced):
    for ending in ("bmp", "tiff", "gif"):
        path = sorted((unbalanced / "data/split/train/Dress").iterdir())[0]
        save(path.with_suffix(f".{ending}"), decode(path)[::-1])
    assert counts(made(unbalanced, "max"))["Dress"] == 14


def test_params_replace_what_the_preset_says():
    params = augment.Params(target="max", preset="tutorial", rotation=10.0, horizontal_flip=False, hue=0.1)
    assert params.transforms() == TUTORIAL._replace(rotation=10, horizontal_flip=False, hue=0.1)
    assert augment.Params(target="max", preset="none").transforms() == Transforms()
    shifts = {"width_shift": 0.2, "height_shift": 0.2}
    assert Transforms(rotation=40, shear=0.2, zoom=0.2, horizontal_flip=True, fill="nearest", **shifts) == TUTORIAL


def changed(image, transforms, number=0):
    return batch([image], transforms, number)[0]


def batch(images, transforms, first=0):
    numbers = range(first, first + len(images))
    drawn = [draw(*images[0].shape[:2], transforms, seeds.stream(1, number)) for number in numbers]
    return apply(np.stack(images), drawn, transforms.fill, [seeds.derive(1, number) for number in numbers])


@pytest.fixture(scope="module")
def colours():
    """A smooth picture of many colours, 40 x 60."""
    down, right = np.mgrid[0:40, 0:60]
    return np.stack([60 + 3 * down, 60 + 2 * right, 180 - 2 * down], axis=-1).astype(np.uint8)


def test_no_change_is_the_picture_itself(colours):
    assert (changed(colours, Transforms()) == colours).all()


@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_flipping_alone_mirrors_every_other_picture(axis, colours):
    mirror = colours[:, ::-1] if axis == "horizontal" else colours[::-1]
    kinds = [changed(colours, Transforms(**{f"{axis}_flip": True}), number) for number in range(40)]
    mirrored = [(kind == mirror).all() for kind in kinds]
    assert all(same or (kind == colours).all() for kind, same in zip(kinds, mirrored, strict=True))
    assert 8 < sum(mirrored) < 32


@pytest.mark.parametrize("axis", [0, 1])
def test_shifting_alone_moves_and_fills_with_the_nearest_pixel(axis):
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, :10] = 200
    image = image.swapaxes(0, axis) if axis == 0 else image
    image = image if axis == 1 else image.swapaxes(0, 1)
    shifts = Transforms(width_shift=0.2) if axis == 1 else Transforms(height_shift=0.2)
    edges = []
    for number in range(20):
        moved = changed(image, shifts, number)
        moved = moved if axis == 1 else moved.swapaxes(0, 1)
        assert (moved == moved[:1]).all()  # lines along the edge stay alike
        edges.append(int((moved[0, :, 0] > 100).sum()))
        assert set(np.unique(moved[0, [0, -1]])) == {0, 200}
    assert 6 <= min(edges) < 10 < max(edges) <= 14


@pytest.mark.parametrize(("fill", "expected"), [("nearest", 200), ("constant", 0), ("reflect", 200), ("wrap", 40)])
def test_what_comes_in_from_outside(fill, expected):
    """A bright half to the left, a dark one to the right; the picture moves to the right."""
    image = np.full((20, 20, 3), 40, np.uint8)
    image[:, :10] = 200
    matrix = np.eye(3)
    matrix[0, 2] = -4
    drawn = draw(20, 20, Transforms(), seeds.stream(1))._replace(matrix=matrix)
    assert (apply(image[None], [drawn], fill, [1])[0, :, :3] == expected).all()


RANGES = {
    "hue": 0.1, "saturation": 0.3, "colour_shift": 0.1, "brightness": 0.2,
    "contrast": 0.3, "noise": 0.1, "erasing": 0.5,
}  # fmt: skip


def measured(kind, before, after):
    """How far a change went, in the unit of its param."""
    from matplotlib.colors import rgb_to_hsv

    old, new = before.astype(float), after.astype(float)
    if kind == "hue":
        turn = np.median(rgb_to_hsv(new / 255)[..., 0] - rgb_to_hsv(old / 255)[..., 0])
        return abs((turn + 0.5) % 1 - 0.5)
    if kind == "saturation":
        was, now = rgb_to_hsv(old / 255)[..., 1], rgb_to_hsv(new / 255)[..., 1]
        return abs(np.median(now[was > 0.2] / was[was > 0.2]) - 1)
    if kind == "contrast":
        return abs(np.median(new.std(axis=(0, 1)) / old.std(axis=(0, 1))) - 1)
    if kind == "noise":
        return (new - old).std() / 255
    if kind == "erasing":
        rows, _ = np.nonzero((after == 128).all(axis=-1))
        return (np.ptp(rows) + 1) / before.shape[0] if len(rows) else 0
    return np.abs(np.median(new - old, axis=(0, 1))).max() / 255


@pytest.mark.parametrize("kind", RANGES)
def test_each_change_of_colour_keeps_its_range_and_uses_it(kind, colours):
    done = [measured(kind, colours, changed(colours, Transforms(**{kind: RANGES[kind]}), n)) for n in range(30)]
    assert max(done) <= RANGES[kind] * 1.05 + 0.01
    assert max(done) > RANGES[kind] * 0.6
    assert min(done) < RANGES[kind] * 0.4


def test_brightness_is_the_same_for_all_colours_and_a_colour_shift_is_not(colours):
    def steps(kind):
        after = changed(colours, Transforms(**{kind: 0.1}), 3).astype(int)
        return {int(np.median(after[..., channel] - colours[..., channel].astype(int))) for channel in range(3)}

    assert len(steps("brightness")) == 1
    assert len(steps("colour_shift")) == 3


def test_cropping_shows_a_part_of_the_picture(colours):
    """The reds grow from top to bottom and the greens from left to right: what is at the edges tells the window."""
    left, width = [], []
    for number in range(30):
        after = changed(colours, Transforms(crop=0.5), number).astype(int)
        left.append((after[20, 0, 1] - 60) / 2)
        width.append((after[20, -1, 1] - after[20, 0, 1]) / 2)
        assert after[..., 1].min() >= 60  # nothing comes in from outside
        assert after[..., 1].max() <= 60 + 2 * 59
    assert min(width) >= 0.45 * 59
    assert max(width) > 50
    assert max(left) > 15


def test_one_more_transform_does_not_change_what_is_drawn_for_the_others():
    alone = draw(50, 40, TUTORIAL, np.random.default_rng(1))
    more = draw(50, 40, TUTORIAL._replace(hue=0.1, erasing=0.3), np.random.default_rng(1))
    assert (alone.matrix == more.matrix).all()
    fewer = draw(50, 40, Transforms(hue=0.1, erasing=0.3), np.random.default_rng(1))
    assert (more.hue, more.erased) == (fewer.hue, fewer.erased)


@given(st.integers(0, 2**32 - 1), st.integers(8, 300), st.integers(8, 300))
def test_the_tutorials_ranges_are_kept(seed, height, width):
    random = np.random.default_rng(seed)
    matrix = affine(height, width, TUTORIAL, random.uniform(-1, 1, 8), random.uniform(0, 1, 3))
    linear = matrix[:2, :2]
    angle = np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))
    angle = (angle + 90) % 180 - 90  # a flipped picture's first axis points the other way
    assert abs(angle) <= 40 + 1e-6
    lengths = np.linalg.norm(linear, axis=0)
    assert (np.abs(lengths - 1) <= 0.2 + 1e-6).all()
    slant = np.degrees(np.arcsin(abs(linear[:, 0] @ linear[:, 1]) / lengths.prod()))
    assert slant <= 0.2 + 1e-6
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    assert (np.abs((matrix @ centre - centre)[:2]) <= 0.2 * np.array([width, height]) + 1e-6).all()


EVERYTHING = TUTORIAL._replace(**RANGES, crop=0.3, vertical_flip=True)


@pytest.mark.parametrize("shape", [(31, 57, 3), (1, 1, 3), (28, 28, 3), (224, 301, 3)])
@pytest.mark.parametrize("transforms", [TUTORIAL, EVERYTHING], ids=["tutorial", "everything"])
def test_a_picture_does_not_depend_on_its_batch(shape, transforms):
    for repeat in range(3):
        images = list(np.random.default_rng(repeat).integers(0, 256, (13, *shape), np.uint8))
        together = batch(images, transforms)
        assert together.shape == (13, *shape)
        assert all((changed(image, transforms, n) == together[n]).all() for n, image in enumerate(images))
        assert (batch(images[5:9], transforms, 5) == together[5:9]).all()


def test_large_pictures_do_not_go_through_together(tmp_path, monkeypatch):
    """What is in memory at a time is about `PIXELS`, or a single picture."""
    sizes = []
    monkeypatch.setattr(augment, "change", lambda images, *_: sizes.append(images.shape[:3]) or images)
    paths = [save(tmp_path / f"{n}.png", np.zeros((600, 800, 3), np.uint8)) for n in range(9)]
    paths += [save(tmp_path / f"small {n}.png", np.zeros((30, 40, 3), np.uint8)) for n in range(20)]
    jobs = [augment.Job(path, 0, tmp_path / "new" / path.name) for path in paths]
    augment.make(jobs, TUTORIAL, 1)
    assert sorted(size[0] for size in sizes if size[1] == 600) == [3, 3, 3]
    assert sum(size[0] for size in sizes) == 29 == len(list((tmp_path / "new").iterdir()))


def test_odd_names(unbalanced):
    """A class called as a file of ours, and file names that are nearly too long."""
    train = unbalanced / "data/split/train"
    for label in ("left_out.csv", "a$b_$c"):
        (train / label).mkdir()
        for number, path in enumerate(sorted((train / "Bag").iterdir())[:2]):
            shutil.copy(path, train / label / f"{number}{'x' * 245}.png")
    new = made(unbalanced, "max")
    assert sum(name.startswith("left_out.csv/") for name in new) == 18
    assert len({name for name in new if name.startswith("a$b")}) == 18
