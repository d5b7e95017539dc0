import gzip

import pytest

from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from tests.helpers.source_files import files_of, names_of, write_csv


def read(path, shape=(28, 28), header=False):
    return files_of("csv", path, csv={"shape": list(shape), "header": header})


@pytest.fixture
def digits(pictures):
    """Twelve labelled grey pictures."""
    return [(str(number % 3), decode(path)[..., 0]) for number, path in enumerate(pictures[:12])]


@pytest.mark.parametrize("header", [False, True])
def test_rows_of_csv_files_are_pictures(header, digits, tmp_path):
    write_csv(tmp_path / "mnist_train.csv", digits, 28 * 28 * header)
    write_csv(tmp_path / "mnist_test.csv", digits[:5], 28 * 28 * header)
    files = read(tmp_path, header=header)
    assert names_of(files)[:2] == [("test", "0", "mnist_test-000000.png"), ("test", "1", "mnist_test-000001.png")]
    train = [file for file in files if file.part == "train"]
    for (label, pixels), file in zip(digits, train, strict=True):
        assert (file.label, (file.content == pixels).all()) == (label, True)


def test_one_csv_file_is_for_training_whatever_its_name(digits, tmp_path):
    write_csv(tmp_path / "test.csv", digits)
    assert {file.part for file in read(tmp_path / "test.csv")} == {"train"}
    assert {file.part for file in read(tmp_path)} == {"train"}


def test_csv_rows_may_be_in_colour_and_labels_text(tmp_path, pictures):
    pixels = decode(pictures[0])[:4, :5]
    write_csv(tmp_path / "x.csv", [("red/blue car", pixels)])
    (file,) = read(tmp_path / "x.csv", (4, 5, 3))
    assert file.label == "red_blue_car"
    assert (file.content == pixels).all()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3", "2 values where 2 x 2 are 4"),
        ("1,2,3,4,5,6", "5 values where 2 x 2 are 4"),
        ("1,2,3,x,5", "a value is not a number"),
        ("1,2,3,256,5", "a value is not a whole number from 0 to 255"),
        ("1,2,3,-1,5", "a value is not a whole number from 0 to 255"),
        ("1,2,3,0.5,5", "a value is not a whole number from 0 to 255"),
        ("1,2,3,nan,5", "a value is not a whole number from 0 to 255"),
        ("1", "0 values where 2 x 2 are 4"),
        (" ,1,2,3,4", "the row has no label"),
    ],
)
def test_a_bad_row_is_reported_with_its_number(line, reason, tmp_path):
    (tmp_path / "x.csv").write_text(f"0,1,2,3,4\n{line}\n\n7,9,9,9,9\n")
    good, bad, last = read(tmp_path / "x.csv", (2, 2))
    assert reason in str(bad.content)
    assert (bad.name, last.label) == ("x-000001.png", "7")
    assert "header" not in str(bad.content)
    assert good.content.tolist() == [[1, 2], [3, 4]]


def test_an_unannounced_header_is_suspected(digits, tmp_path):
    write_csv(tmp_path / "x.csv", digits, header=28 * 28)
    first = read(tmp_path / "x.csv")[0]
    assert str(first.content).endswith("if this is a header, set download.csv.header to true")


def test_csv_files_of_one_name_in_two_folders(digits, tmp_path):
    for name in ("one", "two"):
        write_csv(tmp_path / name / "data.csv", digits)
    names = [file.name for file in read(tmp_path)]
    assert len(set(names)) == 24
    assert names[0] == "one__data-000000.png"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (gzip.compress(b"1,2,3,4,5\n", mtime=0), "x.csv is compressed: unpack it"),
        (b'1,2,3,4,5\n1,"' + b"2," * 100_000, "x.csv is not a CSV file"),
        (b"a b,1,2,3,4\na_b,1,2,3,4\n", "classes 'a b' and 'a_b' have the same folder name: a_b"),
    ],
)
def test_a_file_that_is_not_csv_is_refused(data, sentence, tmp_path):
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / "x.csv", (2, 2))


def test_a_byte_order_mark_is_not_part_of_a_label(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf0,1,2,3,4\n0,1,2,3,4\n")
    assert {file.label for file in read(tmp_path / "x.csv", (2, 2))} == {"0"}


def test_a_missing_csv_file_is_reported(tmp_path):
    for path in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(UserError, match="is not a CSV file and holds none"):
            read(path)
