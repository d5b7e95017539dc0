import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from darkroom.core import parallel
from darkroom.download import inspection, near_duplicates
from darkroom.images.decode import decode
from tests.helpers.pictures import photograph, save

pytestmark = pytest.mark.usefixtures("single_process")
VERSIONS = {
    "smaller": lambda image: image.resize((96, 72), Image.Resampling.BILINEAR),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "grey": lambda image: image.convert("L"),
    "softer": lambda image: image.filter(ImageFilter.GaussianBlur(0.6)),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """`(names, measures)`: 30 photographs, and four changed versions and a worse JPEG of the first."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(30):
        photograph(number).save(folder / f"{number:02d}.png")
    for name, change in VERSIONS.items():
        change(photograph(0)).save(folder / f"{name}.png")
    photograph(0).save(folder / "worse.jpg", quality=30)
    paths = sorted(folder.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "ALONE_SECONDS", float("inf"))
        return [path.stem for path in paths], inspection.measure_files(paths)


def test_versions_of_a_picture_are_a_group_in_any_order(measured):
    names, measures = measured
    for order in (np.arange(len(names)), np.random.default_rng(1).permutation(len(names))):
        groups = near_duplicates.find(measures[order], 0.9)
        assert [sorted(names[order[row]] for row in group) for group in groups] == [sorted(["00", "worse", *VERSIONS])]
        assert groups == [sorted(group) for group in groups]


def test_groups_and_their_members_are_in_the_order_of_the_rows(measured):
    names, measures = measured
    rows = [names.index(name) for name in ("05", "07", "05", "smaller", "07", "00", "09")]
    assert near_duplicates.find(measures[rows], None) == [[0, 2], [1, 4]]
    assert near_duplicates.find(measures[rows], 0.9) == [[0, 2], [1, 4], [3, 5]]


def test_pictures_of_one_colour_are_a_group_if_it_is_the_same(tmp_path):
    paths = [save(tmp_path / f"{n}.png", np.full((20, 20, 3), 100, np.uint8)) for n in range(3)]
    paths.append(save(tmp_path / "white.png", np.full((20, 20, 3), 255, np.uint8)))
    noise = np.random.default_rng(1).integers(0, 255, (20, 20, 3), np.uint8)
    paths.append(save(tmp_path / "noise.png", noise))
    assert near_duplicates.find(inspection.measure_files(paths), 0.9) == [[0, 1, 2]]


def test_issues_are_found(tmp_path):
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
    issues = inspection.issues(inspection.measure_files(paths))
    assert set(issues) == set(odd)
    for row, name in enumerate(odd, start=20):
        assert row in issues[name], name
        assert all(row >= 20 for row in issues[name]), name


def test_measures_agree_with_cleanvisions_own_search(fashion):
    """The same pictures through CleanVision's command; these are small, so nothing is reduced."""
    from cleanvision import Imagelab

    paths = sorted((fashion / "test/Bag").iterdir())[:100]
    lab = Imagelab(filepaths=[str(path) for path in paths], verbose=False)
    lab.find_issues({name: {} for name in inspection.ISSUES}, n_jobs=1, verbose=False)
    issues = inspection.issues(inspection.measure_files(paths))
    for issue, rows in issues.items():
        assert [lab.issues.index[row] for row in rows] == list(lab.issues.index[lab.issues[f"is_{issue}_issue"]]), issue


@pytest.mark.parametrize("size", [(1, 3), (28, 28), (64, 65), (120, 160), (300, 211)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_numbers_are_cleanvisions(size, mode):
    from cleanvision.issue_managers.duplicate_issue_manager import get_hash

    image = photograph(1, *size).convert(mode)
    (row,) = np.frombuffer(inspection.measure(np.asarray(image)), inspection.MEASURES)
    image.thumbnail((inspection.LARGEST_SIDE, inspection.LARGEST_SIDE), reducing_gap=2.0)
    expected = {}
    for name in ("dark", "low_information", "blurry"):
        expected |= inspection._issue_manager().image_properties[name].calculate(image)
    found = dict(zip(inspection.PROPERTIES, row["properties"].tolist(), strict=True))
    assert {name: found[name] for name in expected} == expected
    assert f"{row['hash']:016x}" == get_hash(image, {"hash_type": "phash", "hash_size": 8})


def test_small_pictures_are_measured_too(tmp_path):
    path = save(tmp_path / "x.png", np.random.default_rng(1).integers(0, 255, (1, 3, 3), np.uint8))
    (measures,) = inspection.measure_files([path])
    assert (measures["height"], measures["width"]) == decode(path).shape[:2]
