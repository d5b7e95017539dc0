"""Every source gives what it has; files and folders are made by the tests from real pictures."""

import csv
import gzip
import shutil

import numpy as np
import pytest

from darkroom.core.errors import UserError
from darkroom.download import sources, tables, tfds_mirror
from darkroom.download.sources import Found
from darkroom.images.decode import decode
from tests.helpers.pictures import FASHION


def listed(found):
    """`(part, label, name)` of all that a source gives."""
    return [(item.part, item.label, item.name) for item in found]


def write_csv(path, digits, header=False, shape=(28, 28)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        if header:
            writer.writerow(["label", *range(int(np.prod(shape)))])
        for label, pixels in digits:
            writer.writerow([label, *pixels.reshape(-1)])


@pytest.fixture
def digits(pictures):
    """Twelve labelled grey pictures."""
    return [(str(number % 3), decode(path)[..., 0]) for number, path in enumerate(pictures[:12])]


@pytest.mark.parametrize("header", [False, True])
def test_rows_of_csv_files_are_pictures(header, digits, tmp_path):
    write_csv(tmp_path / "mnist_train.csv", digits, header)
    write_csv(tmp_path / "mnist_test.csv", digits[:5], header)
    found = list(tables.from_csv(tmp_path, (28, 28), header))
    assert listed(found)[:2] == [("test", "0", "mnist_test-000000.png"), ("test", "1", "mnist_test-000001.png")]
    assert sum(item.part == "train" for item in found) == 12
    train = [item for item in found if item.part == "train"]
    for (label, pixels), item in zip(digits, train, strict=True):
        assert (item.label, (item.content == pixels).all()) == (label, True)


def test_one_csv_file_is_for_training_whatever_it_is_called(digits, tmp_path):
    write_csv(tmp_path / "test.csv", digits)
    assert {item.part for item in tables.from_csv(tmp_path / "test.csv", (28, 28), False)} == {"train"}
    assert {item.part for item in tables.from_csv(tmp_path, (28, 28), False)} == {"train"}


def test_csv_rows_may_be_in_colour_and_labels_text(tmp_path, pictures):
    pixels = decode(pictures[0])[:4, :5]
    write_csv(tmp_path / "x.csv", [("red/blue car", pixels)], shape=(4, 5, 3))
    (item,) = tables.from_csv(tmp_path / "x.csv", (4, 5, 3), False)
    assert item.label == "red_blue_car"
    assert (item.content == pixels).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3", "2 values where 2 x 2 are 4"),
        ("1,2,3,4,5,6", "5 values where 2 x 2 are 4"),
        ("1,2,3,x,5", "a value is no number"),
        ("1,2,3,256,5", "a value is not a whole number from 0 to 255"),
        ("1,2,3,-1,5", "a value is not a whole number from 0 to 255"),
        ("1,2,3,0.5,5", "a value is not a whole number from 0 to 255"),
        ("1,2,3,nan,5", "a value is not a whole number from 0 to 255"),
        ("1", "0 values where 2 x 2 are 4"),
        (" ,1,2,3,4", "the row has no label"),
    ],
)
def test_a_bad_row_is_told_with_its_number(line, reason, tmp_path):
    (tmp_path / "x.csv").write_text(f"0,1,2,3,4\n{line}\n\n7,9,9,9,9\n")
    good, bad, last = tables.from_csv(tmp_path / "x.csv", (2, 2), False)
    assert reason in str(bad.content)
    assert (bad.name, last.label) == ("x-000001.png", "7")
    assert "header" not in str(bad.content)
    assert good.content.tolist() == [[1, 2], [3, 4]]


def test_a_header_that_was_not_announced_is_guessed(digits, tmp_path):
    write_csv(tmp_path / "x.csv", digits, header=True)
    first = next(tables.from_csv(tmp_path / "x.csv", (28, 28), False))
    assert str(first.content).endswith("if this is a header, set download.csv.header to true")


def test_csv_files_of_one_name_in_two_folders(digits, tmp_path):
    for name in ("one", "two"):
        write_csv(tmp_path / name / "data.csv", digits)
    names = [item.name for item in tables.from_csv(tmp_path, (28, 28), False)]
    assert len(set(names)) == 24
    assert names[0] == "one__data-000000.png"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (gzip.compress(b"1,2,3,4,5\n", mtime=0), "x.csv is compressed: unpack it"),
        (b'1,2,3,4,5\n1,"' + b"2," * 100_000, "x.csv is no CSV file"),
        (b"a b,1,2,3,4\na_b,1,2,3,4\n", "classes 'a b' and 'a_b' are one as folder names: a_b"),
    ],
)
def test_what_is_no_csv_file_is_said(data, sentence, tmp_path):
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        list(tables.from_csv(tmp_path / "x.csv", (2, 2), False))


def test_a_mark_of_byte_order_is_no_part_of_a_label(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf0,1,2,3,4\n0,1,2,3,4\n")
    assert {item.label for item in tables.from_csv(tmp_path / "x.csv", (2, 2), False)} == {"0"}


def idx(path, array, zipped):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if zipped else data)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_pictures(zipped, digits, tmp_path):
    ending = ".gz" if zipped else ""
    images, labels = np.stack([pixels for _, pixels in digits]), np.array([int(label) for label, _ in digits])
    for stem, count in (("train", 12), ("t10k", 4)):
        idx(tmp_path / f"{stem}-images-idx3-ubyte{ending}", images[:count], zipped)
        idx(tmp_path / f"{stem}-labels-idx1-ubyte{ending}", labels[:count], zipped)
    found = list(tables.from_idx(tmp_path))
    assert listed(found)[:2] == [("test", "0", "t10k-000000.png"), ("test", "1", "t10k-000001.png")]
    train = [item for item in found if item.part == "train"]
    assert all((item.content == pixels).all() for item, pixels in zip(train, images, strict=True))
    assert [item.label for item in train] == [label for label, _ in digits]


def test_idx_files_that_are_broken_are_named(digits, tmp_path):
    images, labels = np.stack([pixels for _, pixels in digits]), np.arange(12)
    with pytest.raises(UserError, match=r"holds no IDX files such as train-images-idx3-ubyte.gz"):
        list(tables.from_idx(tmp_path))
    idx(tmp_path / "train-images-idx3-ubyte.gz", images, True)
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz is missing: it has the labels of train-images"):
        list(tables.from_idx(tmp_path))
    idx(tmp_path / "train-labels-idx1-ubyte.gz", labels[:7], True)
    with pytest.raises(UserError, match="do not match"):
        list(tables.from_idx(tmp_path))
    idx(tmp_path / "train-labels-idx1-ubyte.gz", labels, True)
    whole = (tmp_path / "train-images-idx3-ubyte.gz").read_bytes()
    for bad in (whole[: len(whole) // 2], b"", b"no", gzip.compress(b"\0\0\x0d\3" + bytes(20)), whole[:-3]):
        (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bad)
        with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz is no whole IDX file of bytes"):
            list(tables.from_idx(tmp_path))


@pytest.mark.parametrize("shape", [(12, 4, 4, 1), (12,), (12, 4, 4, 2)])
def test_idx_files_of_other_shapes_are_refused(shape, tmp_path):
    idx(tmp_path / "train-images-idx3-ubyte", np.zeros(shape), False)
    idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(12), False)
    with pytest.raises(UserError, match="do not match"):
        list(tables.from_idx(tmp_path))


def test_no_csv_file_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(UserError, match="is no CSV file and holds none"):
            list(tables.from_csv(path, (28, 28), False))


def some(*labels):
    return [Found("train", label, f"{number}.png", b"") for number, label in enumerate(labels)]


def test_classes_are_chosen_renamed_and_joined():
    chosen = sources.choose(some("a", "b", "c", "a"), ["a", "c"], left := sources.Counter())
    assert [item.label for item in chosen] == ["a", "c", "a"]
    assert left == {"b": 1}
    renamed = sources.choose(some("a", "b", "c"), {"a": "cat", "c": "cat"}, sources.Counter())
    assert [item.label for item in renamed] == ["cat", "cat"]
    assert [item.label for item in sources.choose(some("a", "b"), None, sources.Counter())] == ["a", "b"]


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(UserError, match="the source has no class dog, but a, b"):
        list(sources.choose(some("b", "a"), ["a", "dog"], sources.Counter()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, pictures):
    """A data_dir with sets that TensorFlow Datasets wrote itself from 20 real pictures: one split, and several."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    images = np.stack([decode(path)[..., :1] for path in pictures[:20]])
    labels = np.arange(20) % 2
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(names=["a cat", "dog"])}
    )

    def rows_(which):
        return tf.data.Dataset.from_tensor_slices({"image": images[which], "label": labels[which]})

    for name, splits in {
        "own_pets": {"train": rows_(slice(0, 12)), "validation": rows_(slice(12, 16)), "test": rows_(slice(16, 20))},
        "only_everything": {"everything": rows_(slice(0, 20))},
        "odd_splits": {"first": rows_(slice(0, 12)), "second": rows_(slice(12, 20))},
    }.items():
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name, version="1.0.0", features=features, split_datasets=splits, data_dir=folder
        )
    return str(folder), images


def test_a_prepared_set_with_several_splits(prepared):
    folder, images = prepared
    found = list(sources.from_tfds("own_pets:1.0.0", folder))
    train = [item for item in found if item.part == "train"]
    assert {part: sum(item.part == part for item in found) for part in ("train", "val", "test")} == {
        "train": 12, "val": 4, "test": 4
    }  # fmt: skip
    # TensorFlow Datasets shuffles what it writes; each picture keeps its label.
    labels = {image.tobytes(): ("a_cat", "dog")[number % 2] for number, image in enumerate(images)}
    assert all(labels[decode(item.content)[..., :1].tobytes()] == item.label for item in found)
    assert [item.name for item in train] == [f"{number:06d}.png" for number in range(12)]


def test_a_prepared_set_with_one_split_is_for_training(prepared):
    found = list(sources.from_tfds("only_everything", prepared[0]))
    assert [item.part for item in found] == ["train"] * 20


def test_a_set_without_train_lists_its_splits(prepared):
    with pytest.raises(UserError, match="odd_splits has no split called train, but first, second"):
        list(sources.from_tfds("odd_splits", prepared[0]))


def test_files_that_were_downloaded_by_hand(tmp_path):
    """TensorFlow Datasets prepares Fashion-MNIST from `manual_dir` in an empty `data_dir`."""
    tfds_mirror.tfds_files("fashion_mnist", tmp_path / "brought")
    found = sources.from_tfds(FASHION, str(tmp_path / "data"), str(tmp_path / "brought"))
    first = next(iter(found))
    assert (first.part, first.name, decode(first.content).shape) == ("test", "000000.png", (28, 28, 3))
    assert (tmp_path / "data/fashion_mnist").is_dir()


def test_a_damaged_file_that_was_downloaded_by_hand_is_refused(tmp_path):
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought/train-images-idx3-ubyte.gz").write_bytes(b"no")
    with pytest.raises(UserError, match="data set fashion_mnist cannot be prepared"):
        list(sources.from_tfds(FASHION, str(tmp_path / "data"), str(tmp_path / "brought")))


def test_parts_may_be_called_training_and_testing(tmp_path, pictures):
    for part in ("Training", "TEST"):
        (tmp_path / part / "a").mkdir(parents=True)
        shutil.copy(pictures[0], tmp_path / part / "a")
    assert [item.part for item in sources.from_folder(tmp_path)] == ["test", "train"]
    (tmp_path / "testing/a").mkdir(parents=True)
    with pytest.raises(UserError, match=r"TEST and testing in .* mean the same part: join them"):
        list(sources.from_folder(tmp_path))


def test_folders_that_are_links_are_followed_and_loops_end(tmp_path, pictures):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(pictures[0], tmp_path / "elsewhere/one.png")
    (tmp_path / "in/a").mkdir(parents=True)
    shutil.copy(pictures[1], tmp_path / "in/a/two.png")
    (tmp_path / "in/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/a/loop").symlink_to(tmp_path / "in")
    assert listed(sources.from_folder(tmp_path / "in")) == [
        ("train", "a", "loop"), ("train", "a", "two.png"), ("train", "b", "one.png")
    ]  # fmt: skip


def test_what_lies_outside_the_class_folders_is_told(tmp_path, pictures):
    for name in ("train/a/1.png", "test/a/2.png", "train/stray.png", "notes.txt", "extra/b/3.png", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures[0], tmp_path / name)
    found = list(sources.from_folder(tmp_path))
    assert listed(found) == [
        ("test", "a", "2.png"), ("train", "a", "1.png"),
        ("", "", "extra/b/3.png"), ("", "", "notes.txt"), ("", "", "train/stray.png"),
    ]  # fmt: skip
    assert {str(item.content) for item in found if not item.part} == {"in no class folder"}
