import numpy as np
import psutil
import pytest

from darkroom.models.row_file import RowFile


def test_rows_are_those_that_were_written(tmp_path):
    rows = np.random.default_rng(0).random((7, 2, 3), np.float32)
    file = RowFile(tmp_path / "new", 7, (2, 3))
    file[slice(4, 7)], file[slice(0, 4)] = rows[4:], rows[:4]
    for selection in (slice(None), slice(1, 99), np.array([5, 0, 5]), np.array([], int)):
        assert (file[selection] == rows[selection]).all()
    assert not list((tmp_path / "new").iterdir())  # nothing is left behind by a kill


def test_rows_take_no_memory_of_the_process(tmp_path):
    process, count = psutil.Process(), 64
    file = RowFile(tmp_path, count, (2**18,))
    block = np.ones((1, 2**18), np.float32)
    before = process.memory_info().rss
    for number in range(count):
        file[slice(number, number + 1)] = block
    assert sum(float(file[np.array([number])].sum()) for number in range(count)) == count * 2**18
    assert process.memory_info().rss < before + 2**23


def test_too_little_space_is_noticed_at_once(tmp_path):
    with pytest.raises(OSError, match=r"No space|too large"):
        RowFile(tmp_path, 2**40, (2**10,))
