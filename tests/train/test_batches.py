"""Training batches of real pictures and features."""

import numpy as np
import pytest

from darkroom.images.folders import Picture, listed
from darkroom.models.inputs import Pictures
from darkroom.train.batches import Batches, ChangedPictures
from darkroom.train.params import Pixels
from tests.helpers.pictures import CLASSES
from tests.helpers.training import descent

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(scope="module")
def in_memory(split):
    """90 pictures of three classes, in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(split)
        pictures = Pictures([Picture(split / path, label) for path, label in listed("train")], (32, 32))
        assert len(pictures.digests) == 90
        return pictures.hold()


def test_an_epoch_has_every_row_once_in_its_own_order(features):
    train, _, classes = features
    batches = Batches(train, classes, descent(), seed=1)
    steps = iter(batches.stream(0))
    for _ in range(2):
        labels = np.concatenate([next(steps)[1].numpy().argmax(axis=1) for _ in range(batches.in_a_pass)])
        assert sorted(labels) == sorted(train.numbers(classes))
    assert (batches.order(0) != batches.order(1)).any()
    first, numbers = batches[0]
    rows = batches.order(0)[:32]
    assert (first == train.rows(rows)).all()
    assert [classes[number] for number in numbers.argmax(axis=1)] == [train.labels[row] for row in rows]


def test_a_stream_has_the_batch_of_every_step_from_any_step_on(in_memory):
    batches = Batches(in_memory, CLASSES, descent(batch_size=32), 1)
    for first in (0, 4):
        for step, batch in zip(range(first, first + 5), batches.stream(first), strict=False):
            for tensor, array in zip(batch, batches[step], strict=True):
                assert (tensor.numpy() == array).all()


def test_without_shuffling_rows_are_ordered_by_file_name(split):
    """9.png comes before 10.png, whatever the folder."""
    names = [f"{3 * place + number}.png" for number in range(3) for place in range(30)]
    order = [Picture(split / label / name, label) for label, name in zip(np.repeat(CLASSES, 30), names, strict=True)]
    batches = Batches(Pictures(order, (28, 28)), CLASSES, descent(shuffle=False, batch_size=45), 1)
    for number in (0, 1):
        assert [int(names[row].removesuffix(".png")) for row in batches.order(number)] == list(range(90))


def test_class_weights_make_classes_count_the_same(in_memory):
    rows = [row for row, label in enumerate(in_memory.labels) if label != "Bag"] + [0, 1, 2, 3, 4, 5]
    few = Pictures([Picture(in_memory.paths[row], in_memory.labels[row]) for row in rows], (32, 32))
    batches = Batches(few, CLASSES, descent(class_weights="balanced", batch_size=66), 1)
    _, classes, weights = batches[0]
    assert (classes * weights[:, None]).sum(axis=0) == pytest.approx([22, 22, 22])


def test_changed_pictures_are_a_function_of_seed_epoch_and_picture(in_memory):
    def epoch(seed, number, size=8):
        changes = Pixels(online={"preset": "tutorial"})
        batches = ChangedPictures(in_memory, CLASSES, descent(batch_size=size), seed, changes)
        result = {}
        for place in range(batches.in_a_pass):
            rows = batches.order(number)[place * size : (place + 1) * size]
            step = batches[number * batches.in_a_pass + place]
            result |= dict(zip(rows.tolist(), zip(*step, strict=True), strict=True))
        return result

    first, again, small, other, later = epoch(1, 0), epoch(1, 0), epoch(1, 0, size=3), epoch(2, 0), epoch(1, 1)
    assert sorted(first) == list(range(90))
    for row, (image, label) in first.items():
        assert (image == again[row][0]).all()
        assert (image == small[row][0]).all()
        assert (image != other[row][0]).any()
        assert (image != later[row][0]).any()
        assert CLASSES[int(label.argmax())] == in_memory.labels[row]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_pictures_have_mixed_labels(in_memory, kind):
    """Each picture is what its labels say: so much of one class's picture, so much of another's."""
    settings = descent(batch_size=30)
    plain = Batches(in_memory, CLASSES, settings, seed=1)
    mixed = ChangedPictures(in_memory, CLASSES, settings, 1, Pixels(**{kind: 1.0}))
    soft = 0
    for number in range(plain.in_a_pass):
        images, labels = plain[number]
        changed, weights = mixed[number]
        assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
        soft += int((weights.max(axis=1) < 0.99).sum())
        assert changed.shape == images.shape
        assert changed.min() >= -1e-3
        assert changed.max() <= 255.001
        for image, weight, original, label in zip(changed, weights, images, labels, strict=True):
            own = weight[label.argmax()]
            if kind == "cutmix" and own < 0.999:  # the label says how much of the picture is still there
                assert (image == original).all(axis=-1).mean() >= own - 0.07  # its sides are rounded to pixels
            elif own < 0.999:  # nearest to a mixture in the label's shares
                assert np.abs(image - own * original).max() <= 255 * (1 - own) + 0.1
    assert soft > 20
    again = ChangedPictures(in_memory, CLASSES, settings, 1, Pixels(**{kind: 1.0}))
    assert (again[1][0] == mixed[1][0]).all()
