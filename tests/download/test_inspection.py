import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from darkroom.core.files import read_csv
from darkroom.core.parallel import on_all_cores
from darkroom.download import inspection, sources
from darkroom.images.decode import decode
from stages import download
from tests.helpers.pictures import download_params, save


def photograph(number, height=120, width=160):
    """Something like one: broad shapes and fine grain, different for each number."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 255, (6, 8, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(random.integers(0, 255, (height // 4, width // 4, 3), np.uint8))
    return Image.blend(coarse, fine.resize((width, height), Image.Resampling.BICUBIC), 0.25)


CHANGES = {
    "smaller": lambda image: image.resize((96, 72), Image.Resampling.BILINEAR),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "grey": lambda image: image.convert("L"),
    "softer": lambda image: image.filter(ImageFilter.GaussianBlur(0.6)),
}


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """`(names, looks)`: 30 photographs, and four changed versions and a worse JPEG of the first."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(30):
        photograph(number).save(folder / f"{number:02d}.png")
    for name, change in CHANGES.items():
        change(photograph(0)).save(folder / f"{name}.png")
    photograph(0).save(folder / "worse.jpg", quality=30)
    paths = sorted(folder.iterdir())
    return [path.stem for path in paths], inspection.look(paths)


def test_versions_of_a_picture_are_one_group_and_other_pictures_are_none(looks):
    names, measured = looks
    groups = inspection.near_duplicates(measured, 0.9)
    assert [sorted(names[row] for row in group) for group in groups] == [sorted(["00", "worse", *CHANGES])]


def test_the_order_of_the_pictures_does_not_matter(looks):
    names, measured = looks
    order = np.random.default_rng(1).permutation(len(names))
    groups = inspection.near_duplicates([measured[row] for row in order], 0.9)
    assert [sorted(names[order[row]] for row in group) for group in groups] == [sorted(["00", "worse", *CHANGES])]


def test_pictures_of_one_colour_are_alike_if_it_is_the_same(tmp_path):
    paths = [save(tmp_path / f"{n}.png", np.full((20, 20, 3), 100, np.uint8)) for n in range(3)]
    paths.append(save(tmp_path / "white.png", np.full((20, 20, 3), 255, np.uint8)))
    noise = np.random.default_rng(1).integers(0, 255, (20, 20, 3), np.uint8)
    paths.append(save(tmp_path / "noise.png", noise))
    assert inspection.near_duplicates(inspection.look(paths), 0.9) == [[0, 1, 2]]


def test_faults_are_found(tmp_path):
    paths = [save(tmp_path / f"{number}.png", np.asarray(photograph(number))) for number in range(20)]
    slope = np.add.outer(np.linspace(0, 40, 120), np.linspace(0, 80, 160)).astype(np.uint8)
    odd = {
        "dark": np.asarray(photograph(21)) // 16,
        "light": 255 - np.asarray(photograph(22)) // 32,
        "blurry": np.stack([slope] * 3, axis=-1),
        "low_information": np.full((120, 160, 3), 128, np.uint8),
        "odd_size": np.asarray(photograph(24, 900, 1200)),
        "odd_aspect_ratio": np.asarray(photograph(25, 24, 400)),
    }
    paths += [save(tmp_path / f"{name}.png", pixels) for name, pixels in odd.items()]
    found = inspection.issues(inspection.look(paths))
    assert set(found) == set(odd)
    for place, name in enumerate(odd, start=20):
        assert place in found[name], name
        assert all(row >= 20 for row in found[name]), name


def test_measures_agree_with_cleanvisions_own_search(fashion):
    """The same pictures through CleanVision's command; those here are small, so nothing is reduced."""
    from cleanvision import Imagelab

    paths = sorted((fashion[0] / "test/Bag").iterdir())[:200]
    lab = Imagelab(filepaths=[str(path) for path in paths], verbose=False)
    lab.find_issues(n_jobs=1, verbose=False)
    ours = inspection.issues(inspection.look(paths))
    for issue, rows in ours.items():
        assert [lab.issues.index[row] for row in rows] == list(lab.issues.index[lab.issues[f"is_{issue}_issue"]]), issue


def test_the_report_names_what_was_found(workspace):
    """Two versions of a photograph under two labels are kept, and said."""
    for number in range(8):
        save(workspace / "data/incoming" / "ab"[number % 2] / f"{number}.png", np.asarray(photograph(number)))
    photograph(0).save(workspace / "data/incoming/b/again.jpg", quality=50)
    (workspace / "data/raw").mkdir()
    download.keep(sources.from_folder(workspace / "data/incoming"), workspace / "data/raw", download_params(), seed=1)
    report = download.describe(workspace / "data/raw", 0.9)
    assert report["near_duplicates_with_two_labels"] == [["train/a/0.png", "train/b/again.jpg"]]
    groups = {row["picture"]: row for row in read_csv(workspace / "reports/groups.csv")}
    assert len(groups) == 9
    assert {name for name, row in groups.items() if row["group"]} == {"train/a/0.png", "train/b/again.jpg"}
    assert all(int(row["hash"], 16) < 2**64 for row in groups.values())
    names = {path.name for path in (workspace / "reports/dataset").iterdir()}
    assert names == {"classes.png", "sizes.png", "a.jpg", "b.jpg"}
    with Image.open(workspace / "reports/dataset/a.jpg") as sheet:
        assert sheet.width > 4 * 96
    (workspace / "data/raw/test/b").mkdir(parents=True)
    shutil.copy(workspace / "data/incoming/a/2.png", workspace / "data/raw/test/b/exactly.png")
    download.describe(workspace / "data/raw", None)  # what is the same to the last pixel is always seen
    groups = {row["picture"]: row["group"] for row in read_csv(workspace / "reports/groups.csv") if row["group"]}
    assert set(groups) == {"train/a/2.png", "test/b/exactly.png"}


def test_work_on_all_cores_is_in_order_and_lazy():
    taken = []

    def numbers():
        for number in range(5000):
            taken.append(number)
            yield -number

    results = on_all_cores(abs, numbers())
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) < 5000
    results.close()
    assert list(on_all_cores(abs, range(300))) == list(range(300))


def slowly(number):
    time.sleep(0.01)
    return number, os.getpid()


def test_long_work_goes_to_other_processes_and_stays_in_order():
    numbers, processes = zip(*on_all_cores(slowly, iter(range(600))), strict=True)
    assert numbers == tuple(range(600))
    assert processes[0] == os.getpid() not in processes[300:]


def test_an_error_in_the_source_comes_through():
    def broken():
        yield 1
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        list(on_all_cores(abs, broken()))


def test_small_pictures_are_measured_too(tmp_path):
    path = save(tmp_path / "x.png", np.random.default_rng(1).integers(0, 255, (1, 3, 3), np.uint8))
    (look,) = inspection.look([path])
    assert (look.height, look.width) == decode(path).shape[:2]
