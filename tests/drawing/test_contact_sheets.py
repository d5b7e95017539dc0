import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.drawing.contact_sheets import GAP, THUMBNAIL, contact_sheet, spread
from tests.helpers.pictures import photograph

CELL = THUMBNAIL + GAP


def test_a_sheet_has_a_row_of_thumbnails_under_each_title(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        photograph(number, 40 + 80 * number, 160).save(path)
    for name in ("first.jpg", "second.jpg"):
        contact_sheet([paths, paths[:2], []], ["five", "", "none"], tmp_path / name)
    with Image.open(tmp_path / "first.jpg") as sheet:
        assert sheet.size == (GAP + 5 * CELL, GAP + 3 * CELL + 2 * 18)
        cell = np.asarray(sheet)[GAP + 18 + 30 :, GAP + 2 * CELL :][:20, :20]
    assert cell.std() > 10  # a picture, not the white of the paper
    assert (tmp_path / "first.jpg").read_bytes() == (tmp_path / "second.jpg").read_bytes()


@given(st.integers(0, 50), st.integers(1, 20))
def test_a_sample_is_spread_evenly(length, count):
    sample = spread(range(length), count)
    assert len(sample) == min(length, count)
    assert sample == sorted(set(sample))
    if length > count > 1:
        assert (sample[0], sample[-1]) == (0, length - 1)
        steps = np.diff(sample)
        assert steps.max() - steps.min() <= 1
