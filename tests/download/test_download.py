import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.core.errors import UserError
from darkroom.download import sources
from darkroom.images.decode import decode
from darkroom.images.folders import labelled
from stages import download
from tests.helpers.pictures import PER_CLASS, download_params, save

FASHION = {
    "Ankle_boot", "Bag", "Coat", "Dress", "Pullover", "Sandal", "Shirt", "Sneaker", "T-shirt_top", "Trouser",
}  # fmt: skip


def found(folder):
    return sources.from_folder(folder)


def test_fashion_mnist_comes_whole_with_its_official_test(fashion):
    folder, report = fashion
    assert report["kept"] == report["found"] == 10 * PER_CLASS + 10_000
    assert report["beyond_limit_per_class"] == 60_000 - 10 * PER_CLASS
    assert report["dropped"] == []
    assert set(report["classes"]) == FASHION
    assert {label: len(list((folder / "test" / label).iterdir())) for label in FASHION} == dict.fromkeys(FASHION, 1000)
    assert not (folder / "val").exists()
    assert decode(next((folder / "test" / "Bag").iterdir())).shape == (28, 28, 3)


def test_a_class_looks_like_its_name(fashion):
    """Trousers are tall: their middle columns are filled; a sandal's and a bag's rows at the top are not."""
    trousers = [decode(path).mean(axis=(0, 2)) for path in (fashion[0] / "train" / "Trouser").iterdir()]
    boots = [decode(path).mean(axis=(0, 2)) for path in (fashion[0] / "train" / "Ankle_boot").iterdir()]
    assert np.mean(trousers, axis=0)[[0, 1, 26, 27]].max() < 15 < np.mean(boots, axis=0)[[1, 26]].min()


@pytest.fixture
def mixed(tmp_path, pictures):
    """A folder with good pictures and every kind of bad file."""
    for number, path in enumerate(pictures[:12]):
        save(tmp_path / "in" / ("a" if number < 6 else "b") / f"{number}.png", decode(path))
    whole = pictures[0].read_bytes()
    bad = {"truncated.png": whole[: len(whole) // 2], "empty.png": b"", "text.jpg": b"not a picture", ".hidden": b"x"}
    for name, data in bad.items():
        (tmp_path / "in" / "a" / name).write_bytes(data)
    (tmp_path / "in" / "b" / "deeper").mkdir()
    (tmp_path / "in" / "b" / "deeper" / "jpeg_in_truth.png").write_bytes(b"")
    Image.fromarray(decode(pictures[20])).save(tmp_path / "in" / "b" / "deeper" / "jpeg_in_truth.png", "JPEG")
    return tmp_path / "in"


def test_bad_files_are_dropped_with_their_reason(mixed, tmp_path):
    report = download.keep(found(mixed), tmp_path / "out", download_params(on_bad="drop"), seed=1)
    reasons = {item["path"]: item["reason"] for item in report["dropped"]}
    assert list(reasons) == ["train/a/empty.png", "train/a/text.jpg", "train/a/truncated.png"]
    assert reasons["train/a/empty.png"] == "empty file"
    assert reasons["train/a/text.jpg"] == "not a picture of a known format"
    assert reasons["train/a/truncated.png"].startswith("cannot be decoded (")
    assert (report["found"], report["kept"], report["classes"]) == (16, 13, {"a": 6, "b": 7})
    assert (tmp_path / "out/train/b/deeper__jpeg_in_truth.png").exists()


def test_bad_files_can_be_refused(mixed, tmp_path):
    with pytest.raises(UserError, match=r"train/a/empty.png: empty file \(download.on_bad is fail\)"):
        download.keep(found(mixed), tmp_path / "out", download_params(), seed=1)


def test_official_parts_are_recognised(pictures, tmp_path):
    for part, number in (("train", 0), ("valid", 2), ("test", 4)):
        for more, label in enumerate("xy"):
            save(tmp_path / "in" / part / label / "p.png", decode(pictures[number + more]))
    download.keep(found(tmp_path / "in"), tmp_path / "out", download_params(), seed=1)
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert names == {f"{part}/{label}/p.png" for part in ("train", "val", "test") for label in "xy"}


def test_classes_may_be_called_test_where_there_is_no_train(pictures, tmp_path):
    for number, label in enumerate(("test", "control")):
        save(tmp_path / "in" / label / "p.png", decode(pictures[number]))
    report = download.keep(found(tmp_path / "in"), tmp_path / "out", download_params(), seed=1)
    assert report["classes"] == {"control": 1, "test": 1}
    assert (tmp_path / "out/train/test/p.png").exists()


def test_the_limit_does_not_depend_on_the_listing_order(fashion, tmp_path):
    listed = list(found(fashion[0] / "train"))
    kept = []
    for number in range(3):
        random.Random(number).shuffle(listed)
        download.keep(listed, tmp_path / str(number), download_params(limit_per_class=7), seed=5)
        kept.append(
            [path.relative_to(tmp_path / str(number)) for path, _ in labelled(tmp_path / str(number) / "train")]
        )
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == 70


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "in").mkdir()])
def test_a_folder_without_classes_is_refused(make, tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match="holds no class folders: put one folder of pictures for each class there"):
        list(found(tmp_path / "in"))


def test_only_bad_files_are_refused(tmp_path):
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/x.png").write_bytes(b"no")
    with pytest.raises(
        UserError, match=r"class a has no good picture \(not a picture of a known format\): add some, or choose"
    ):
        download.keep(found(tmp_path / "in"), tmp_path / "out", download_params(on_bad="drop"), seed=1)


@pytest.mark.parametrize("name", ["no_such_set", "fashion_mnist:99.0.0"])
def test_an_unknown_set_is_named(name):
    with pytest.raises(UserError, match=f"download.name {name} is not in TensorFlow Datasets"):
        list(sources.from_tfds(name))


@given(st.text(min_size=1))
def test_class_names_are_safe_as_folder_names(label):
    assert re.fullmatch(r'[^\\/:*?"<>|\s]+', sources.safe(label))
    assert sources.safe(label) not in (".", "..")
