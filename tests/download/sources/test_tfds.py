import shutil

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.download import tfds_mirror
from darkroom.images.decode import decode
from stages import download
from tests.helpers.pictures import FASHION, download_params
from tests.helpers.source_files import files_of, write_tfds

pytestmark = pytest.mark.usefixtures("tensorflow")
CLASSES = {
    "Ankle_boot", "Bag", "Coat", "Dress", "Pullover", "Sandal", "Shirt", "Sneaker", "T-shirt_top", "Trouser",
}  # fmt: skip


def test_a_set_comes_with_its_official_test(fashion):
    for part, count in (("train", 600), ("test", 2_500)):
        assert {path.name for path in (fashion / part).iterdir()} == CLASSES
        assert len(list((fashion / part).rglob("*.png"))) == count
    assert not (fashion / "val").exists()
    assert decode(next((fashion / "test" / "Bag").iterdir())).shape == (28, 28, 3)


@pytest.mark.full
def test_fashion_mnist_comes_whole(tmp_path):
    folder, params = tmp_path / "raw", download_params(source="tfds", name=FASHION, limit_per_class=60)
    _, report = download.collect(files_of("tfds", name=FASHION), folder, params, seed=42)
    assert report["kept"] == report["found"] == 10 * 60 + 10_000
    assert report["beyond_limit_per_class"] == 60_000 - 10 * 60
    assert report["dropped"] == []
    assert set(report["classes"]) == CLASSES
    assert {label: len(list((folder / "test" / label).iterdir())) for label in CLASSES} == dict.fromkeys(CLASSES, 1000)


def test_a_class_looks_like_its_name(fashion):
    """The outer columns of trousers are empty; those of ankle boots are not."""
    trousers = [decode(path).mean(axis=(0, 2)) for path in (fashion / "train" / "Trouser").iterdir()]
    boots = [decode(path).mean(axis=(0, 2)) for path in (fashion / "train" / "Ankle_boot").iterdir()]
    assert np.mean(trousers, axis=0)[[0, 1, 26, 27]].max() < 15 < np.mean(boots, axis=0)[[1, 26]].min()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, pictures, tensorflow):
    """`(data_dir, rows)`: sets that TensorFlow Datasets wrote itself from 20 real pictures: one split, and several."""
    folder = tmp_path_factory.mktemp("tfds")
    rows = [(number % 2, decode(path)[..., 0]) for number, path in enumerate(pictures[:20])]
    for name, splits in {
        "own_pets": {"train": rows[:12], "validation": rows[12:16], "test": rows[16:]},
        "only_everything": {"everything": rows},
        "odd_splits": {"first": rows[:12], "second": rows[12:]},
    }.items():
        write_tfds(folder, name, splits, ["a cat", "dog"])
    return str(folder), rows


def test_a_prepared_set_with_several_splits(prepared):
    folder, rows = prepared
    files = files_of("tfds", folder, name="own_pets:1.0.0", data_dir=folder)
    train = [file for file in files if file.part == "train"]
    assert {part: sum(file.part == part for file in files) for part in ("train", "val", "test")} == {
        "train": 12, "val": 4, "test": 4
    }  # fmt: skip
    # TensorFlow Datasets shuffles what it writes; each picture keeps its label.
    labels = {pixels.tobytes(): ("a_cat", "dog")[number] for number, pixels in rows}
    assert all(labels[decode(file.content)[..., 0].tobytes()] == file.label for file in files)
    assert [file.name for file in train] == [f"{number:06d}.png" for number in range(12)]


RECORDS = "own_pets-train.tfrecord-00000-of-00001"


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", [RECORDS, "dataset_info.json", "features.json"])
@pytest.mark.parametrize("damage", ["one bit", "cut off", "empty", "gone"])
def test_a_damaged_prepared_set_is_refused(name, damage, prepared, tmp_path):
    folder = tmp_path / "own_pets/1.0.0"
    shutil.copytree(f"{prepared[0]}/own_pets/1.0.0", folder)
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    elif damage == "one bit":
        (folder / name).write_bytes(bytes([*content[:200], content[200] ^ 1, *content[201:]]))
    else:
        (folder / name).write_bytes(content[:-5] if damage == "cut off" else b"")
    unknown = (name, damage) == ("features.json", "gone")  # by this file a folder is recognised as a data set
    sentence = "own_pets not found" if unknown else r"the prepared data set in .*own_pets.* is damaged \("
    with pytest.raises(UserError, match=sentence):
        files_of("tfds", str(tmp_path), name="own_pets:1.0.0", data_dir=str(tmp_path))


def test_a_prepared_set_with_one_split_is_for_training(prepared):
    files = files_of("tfds", prepared[0], name="only_everything", data_dir=prepared[0])
    assert [file.part for file in files] == ["train"] * 20


def test_files_that_only_this_machine_has_must_be_where_dvc_looks(prepared, tmp_path):
    folder = f"{prepared[0]}/own_pets"
    with pytest.raises(UserError, match=f"download.name: .*DVC would not notice .*: set download.path to {folder}"):
        files_of("tfds", name="own_pets:1.0.0", data_dir=prepared[0])
    assert files_of("tfds", folder, name="own_pets:1.0.0", data_dir=prepared[0])
    with pytest.raises(UserError, match=f"download.manual_dir: .*: set download.path to {tmp_path}"):
        files_of("tfds", name=FASHION, manual_dir=str(tmp_path))


def test_a_set_without_train_lists_its_splits(prepared):
    with pytest.raises(UserError, match="odd_splits has no split called train, but first, second"):
        files_of("tfds", prepared[0], name="odd_splits", data_dir=prepared[0])


@pytest.mark.parametrize("name", ["no_such_set", "fashion_mnist:99.0.0"])
def test_an_unknown_set_is_named(name):
    with pytest.raises(UserError, match=f"download.name {name} is not in TensorFlow Datasets"):
        files_of("tfds", name=name)


def test_files_that_were_downloaded_by_hand(tmp_path, monkeypatch):
    """TensorFlow Datasets takes Fashion-MNIST's files from `manual_dir`, and verifies them, in an empty `data_dir`."""
    import tensorflow_datasets as tfds

    tfds_mirror.tfds_files("fashion_mnist", tmp_path / "by hand")
    monkeypatch.setattr(tfds.image_classification.MNIST, "_generate_examples", first_examples)
    folders = {"data_dir": str(tmp_path / "data"), "manual_dir": str(tmp_path / "by hand")}
    files = files_of("tfds", tmp_path, name=FASHION, **folders)
    assert (files[0].part, files[0].name) == ("test", "000000.png")
    assert decode(files[0].content).shape == (28, 28, 3)
    assert len(files) == 20
    assert (tmp_path / "data/fashion_mnist").is_dir()


def first_examples(builder, num_examples, data_path, label_path):
    """Ten examples of a split instead of ten thousand or more."""
    from tensorflow_datasets.image_classification import mnist

    images = mnist._extract_mnist_images(data_path, 10)
    labels = mnist._extract_mnist_labels(label_path, 10)
    yield from enumerate({"image": image, "label": label} for image, label in zip(images, labels, strict=True))


def test_a_damaged_file_that_was_downloaded_by_hand_is_refused(tmp_path):
    (tmp_path / "by hand").mkdir()
    (tmp_path / "by hand/train-images-idx3-ubyte.gz").write_bytes(b"no")
    with pytest.raises(UserError, match="data set fashion_mnist cannot be prepared"):
        files_of("tfds", tmp_path, name=FASHION, data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path / "by hand"))
