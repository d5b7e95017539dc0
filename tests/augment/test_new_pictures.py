from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.augment import new_pictures
from darkroom.augment.transforms import PRESETS
from tests.helpers.pictures import save


@given(st.integers(1, 30), st.integers(0, 100))
def test_the_pictures_of_a_class_take_turns_until_the_target(count, target):
    paths = [Path(f"{number}.png") for number in range(count)]
    jobs = list(new_pictures.plan(paths, target, Path("x")))
    assert len(jobs) == max(target - count, 0)
    assert len({job.target for job in jobs}) == len({(job.source, job.number) for job in jobs}) == len(jobs)
    uses = [sum(job.source == path for job in jobs) for path in paths]
    assert max(uses) - min(uses) <= 1


def test_names_that_are_nearly_too_long_become_short_and_stay_different():
    paths = [Path(f"{number}{'x' * 245}.png") for number in range(2)]
    names = {job.target.name for job in new_pictures.plan(paths, 6, Path("x"))}
    assert len(names) == 4
    assert all(len(name) < 250 for name in names)


def test_large_pictures_are_not_transformed_together(tmp_path, monkeypatch):
    """About `PIXELS`, or a single picture, are in memory at a time."""
    sizes = []
    monkeypatch.setattr(new_pictures, "change", lambda images, *_: sizes.append(images.shape[:3]) or images)
    monkeypatch.setattr(new_pictures.runtime, "import_tensorflow", lambda: None)
    paths = [save(tmp_path / f"{n}.png", np.zeros((600, 800, 3), np.uint8)) for n in range(9)]
    paths += [save(tmp_path / f"small {n}.png", np.zeros((30, 40, 3), np.uint8)) for n in range(20)]
    jobs = [new_pictures.Job(path, 0, tmp_path / "new" / path.name) for path in paths]
    new_pictures.make(jobs, PRESETS["tutorial"], 1)
    assert sorted(size[0] for size in sizes if size[1] == 600) == [3, 3, 3]
    assert sum(size[0] for size in sizes) == 29 == len(list((tmp_path / "new").iterdir()))


def test_nothing_to_make_needs_no_tensorflow(monkeypatch):
    monkeypatch.setattr(new_pictures.runtime, "import_tensorflow", lambda: pytest.fail("imported"))
    new_pictures.make([], PRESETS["tutorial"], 1)
