import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.augment.transforms import ALTERNATIVES, PRESETS, Transforms, affine, apply, draw
from darkroom.core import seeds

pytestmark = pytest.mark.usefixtures("tensorflow")
TUTORIAL = PRESETS["tutorial"]


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
    results = batch([colours] * 40, Transforms(**{f"{axis}_flip": True}))
    mirrored = [(result == mirror).all() for result in results]
    assert all(flip or (result == colours).all() for result, flip in zip(results, mirrored, strict=True))
    assert 8 < sum(mirrored) < 32


@pytest.mark.parametrize("axis", [0, 1])
def test_shifting_alone_moves_and_fills_with_the_nearest_pixel(axis):
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, :10] = 200
    image = image.swapaxes(0, axis) if axis == 0 else image
    image = image if axis == 1 else image.swapaxes(0, 1)
    shifts = Transforms(width_shift=0.2) if axis == 1 else Transforms(height_shift=0.2)
    edges = []
    for moved in batch([image] * 20, shifts):
        moved = moved if axis == 1 else moved.swapaxes(0, 1)
        assert (moved == moved[:1]).all()  # lines along the edge stay alike
        edges.append(int((moved[0, :, 0] > 100).sum()))
        assert set(np.unique(moved[0, [0, -1]])) == {0, 200}
    assert 6 <= min(edges) < 10 < max(edges) <= 14


@pytest.mark.parametrize(("fill", "expected"), [("nearest", 200), ("constant", 0), ("reflect", 200), ("wrap", 40)])
def test_pixels_from_outside(fill, expected):
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
    """The size of a change, in the unit of its param."""
    from matplotlib.colors import rgb_to_hsv

    old, new = before.astype(float), after.astype(float)
    if kind == "hue":
        turn = np.median(rgb_to_hsv(new / 255)[..., 0] - rgb_to_hsv(old / 255)[..., 0])
        return abs((turn + 0.5) % 1 - 0.5)
    if kind == "saturation":
        first, second = rgb_to_hsv(old / 255)[..., 1], rgb_to_hsv(new / 255)[..., 1]
        return abs(np.median(second[first > 0.2] / first[first > 0.2]) - 1)
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
    results = batch([colours] * 30, Transforms(**{kind: RANGES[kind]}))
    changes = [measured(kind, colours, result) for result in results]
    assert max(changes) <= RANGES[kind] * 1.05 + 0.01
    assert max(changes) > RANGES[kind] * 0.6
    assert min(changes) < RANGES[kind] * 0.4


def test_brightness_is_the_same_for_all_colours_and_a_colour_shift_is_not(colours):
    def steps(kind):
        after = changed(colours, Transforms(**{kind: 0.1}), 3).astype(int)
        return {int(np.median(after[..., channel] - colours[..., channel].astype(int))) for channel in range(3)}

    assert len(steps("brightness")) == 1
    assert len(steps("colour_shift")) == 3


def test_cropping_shows_a_part_of_the_picture(colours):
    """Red increases from top to bottom and green from left to right, so the edges show the window."""
    left, width = [], []
    for after in batch([colours] * 30, Transforms(crop=0.5)).astype(int):
        left.append((after[20, 0, 1] - 60) / 2)
        width.append((after[20, -1, 1] - after[20, 0, 1]) / 2)
        assert after[..., 1].min() >= 60  # nothing is from outside
        assert after[..., 1].max() <= 60 + 2 * 59
    assert min(width) >= 0.45 * 59
    assert max(width) > 50
    assert max(left) > 15


def test_another_transform_does_not_change_the_parameters_of_the_others():
    alone = draw(50, 40, TUTORIAL, np.random.default_rng(1))
    more = draw(50, 40, TUTORIAL._replace(hue=0.1, erasing=0.3), np.random.default_rng(1))
    assert (alone.matrix == more.matrix).all()
    fewer = draw(50, 40, Transforms(hue=0.1, erasing=0.3), np.random.default_rng(1))
    assert (more.hue, more.erased) == (fewer.hue, fewer.erased)


@given(st.integers(0, 2**32 - 1), st.integers(8, 300), st.integers(8, 300))
def test_the_ranges_of_the_tutorial_are_kept(seed, height, width):
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
    for repeat in range(1 if shape[0] > 100 else 3):
        images = list(np.random.default_rng(repeat).integers(0, 256, (13, *shape), np.uint8))
        together = batch(images, transforms)
        assert together.shape == (13, *shape)
        assert all((changed(image, transforms, n) == together[n]).all() for n, image in enumerate(images))
        assert (batch(images[5:9], transforms, 5) == together[5:9]).all()


def test_a_single_transform_is_drawn_for_each_picture():
    """All of them in turn, or none; cropping, flipping and erasing are not among them."""
    alone, none = set(), 0
    for number in range(300):
        full = draw(40, 60, PRESETS["trivial_augment"]._replace(crop=0, horizontal_flip=False), seeds.stream(1, number))
        still = np.allclose(full.matrix, np.eye(3))
        changes = [full.hue, full.saturation, np.ptp(full.colours), full.contrast - 1, full.noise]
        brighter = bool(full.colours.any() and not np.ptp(full.colours))
        kinds = [not still, *(bool(change) for change in changes), brighter]
        assert sum(kinds) <= 1
        alone |= {kinds.index(True)} if any(kinds) else set()
        none += not any(kinds)
        assert full.erased[1] - full.erased[0] <= 16
    assert alone == set(range(7))
    assert 10 < none < 50  # of 300, with as many choices as there are alternatives and one more
    assert len(ALTERNATIVES) == 11


@given(st.integers(0, 10_000))
def test_what_a_single_transform_changes_it_changes_as_among_all(number):
    """Switching `single` on takes others away, and leaves the one that is drawn as it was."""
    both = [
        draw(20, 30, TUTORIAL._replace(single=single, hue=0.1, noise=0.1), seeds.stream(2, number))
        for single in (False, True)
    ]
    assert both[1].hue in (0, both[0].hue)
    assert both[1].noise in (0, both[0].noise)
    assert both[1].erased == both[0].erased
