import csv
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.core.errors import UserError
from darkroom.download import sources
from darkroom.download.sources import csv as source
from darkroom.images.decode import decode
from tests.helpers.pictures import download_params
from tests.helpers.source_files import files_of, names_of, write_csv


def read(path, shape=(28, 28), header=False):
    return files_of("csv", path, csv={"shape": list(shape), "header": header})


@pytest.fixture
def digits(pictures):
    """Twelve labelled grey pictures."""
    return [(str(number % 3), decode(path)[..., 0]) for number, path in enumerate(pictures[:12])]


@pytest.mark.parametrize("detected", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_rows_of_csv_files_are_pictures(header, detected, digits, tmp_path):
    write_csv(tmp_path / "mnist_train.csv", digits, 28 * 28 * header)
    write_csv(tmp_path / "mnist_test.csv", digits[:5], 28 * 28 * header)
    files = read(tmp_path, header=None if detected else header)
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


def test_a_header_that_is_denied_is_suspected(digits, tmp_path):
    write_csv(tmp_path / "x.csv", digits, header=28 * 28)
    first = read(tmp_path / "x.csv")[0]
    assert str(first.content).endswith("if this is a header, set download.csv.header to true")


def kaggle(folder, digits):
    """The files of a competition: labelled rows, rows without labels, and an example of what is to be handed in."""
    size = digits[0][1].size
    pixels = [f"pixel{number}" for number in range(size)]
    for name, columns, rows in [
        ("train.csv", ["label", *pixels], [[label, *picture.ravel()] for label, picture in digits]),
        ("test.csv", pixels, [picture.ravel() for _, picture in digits]),
        ("sample_submission.csv", ["ImageId", "Label"], [[1, 0], [2, 0]]),
    ]:
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([columns, *rows])


def test_the_files_of_a_competition_without_labels_are_left(digits, tmp_path):
    kaggle(tmp_path, digits)
    opened = sources.read(download_params(source="csv", path=str(tmp_path)), tmp_path)
    assert opened.details["left"] == {
        "sample_submission.csv": "2 columns, where a label and 28 x 28 pixels are 785",
        "test.csv": "no labels, only 28 x 28 pixels",
    }
    assert opened.description == "rows of train.csv"
    assert opened.details["notes"][1] == "test.csv is left out: it has no labels, only 28 x 28 pixels"
    files = list(opened.files)
    assert names_of(files)[0] == ("train", "0", "train-000000.png")
    assert all((file.content == pixels).all() for file, (_, pixels) in zip(files, digits, strict=True))


def test_a_folder_without_labelled_files_is_refused(digits, tmp_path):
    kaggle(tmp_path, digits)
    (tmp_path / "train.csv").unlink()
    with pytest.raises(UserError, match=r"labels and .* of 28 x 28 pixels; sample_submission.csv has 2 columns"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"test.csv has no labels, only 28 x 28 pixels. Set download.csv.shape"):
        read(tmp_path / "test.csv")


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("a,b,c,d,class", "1,2,3,4,01\n5,6,7,8,1\n", ["01", "1"]),
        ("a,b,Target,c,d", "1,2,x,3,4\n5,6,7,7,8\n", ["x", "7"]),
        ('"label","1x1","1x2","2x1","2x2"', '"7",1,2,3,4\n" 8",5,6,7,8\n', ["7", "8"]),
        ("label,0,1,2,3", "0,1,2,3,4\n", ["0"]),
        ("first,a,b,c,d", "0,1,2,3,4\n", ["0"]),
    ],
)
def test_a_header_is_detected_and_says_where_the_label_is(header, rows, expected, tmp_path):
    (tmp_path / "x.csv").write_text(f"{header}\n{rows}")
    files = read(tmp_path / "x.csv", (2, 2), None)
    assert [file.label for file in files] == expected
    assert files[0].content.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("row", ["y,0,12,0,9", "1,0,1,2,3", "cat,300,1,2,x", "7,1,2"])
def test_a_picture_is_no_header(row, tmp_path):
    (tmp_path / "x.csv").write_text(f"{row}\n1,2,3,4,5\n1,2,3,4,5\n")
    assert len(read(tmp_path / "x.csv", (2, 2), None)) == 3


def test_a_gzipped_csv_file_is_read(digits, tmp_path):
    write_csv(tmp_path / "x.csv", digits)
    expected = read(tmp_path / "x.csv")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress((tmp_path / "x.csv").read_bytes()))
    (tmp_path / "x.csv").unlink()
    for path in (tmp_path, tmp_path / "x.csv.gz"):
        assert names_of(read(path)) == names_of(expected)


ODD = ("1.0", "1e1", "1_0", " 5", "+5", "-0", "256", "-1", "0.5", "nan", "", "x", '"7"', "5 5", "00255", "\u0663")


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["0", "01", " ", "", '"a b"', "c'd"]),
            st.lists(st.integers(0, 255).map(str) | st.sampled_from(ODD), min_size=3, max_size=5),
        ),
        max_size=12,
    ),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    column=st.integers(0, 4),
    size=st.integers(1, 4),
)
def test_rows_that_are_parsed_together_are_the_same_as_one_by_one(tmp_path_factory, rows, end, column, size):
    lines = [",".join([*values[:column], label, *values[column:]]) for label, values in rows]
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    path.write_bytes(end.join(["0,1,2,3,4", *lines, ""]).encode())
    results = []
    for parsed in (source._parsed, lambda *_: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source, "_parsed", parsed)
            patch.setattr(source, "ROWS", size)
            table = source.Table(path, False, column)
            labelled = list(source._labelled(table, (2, 2)))
            results.append([(label, getattr(content, "tolist", content.__str__)()) for label, content in labelled])
    assert results[0] == results[1]


def test_csv_files_of_one_name_in_two_folders(digits, tmp_path):
    for name in ("one", "two"):
        write_csv(tmp_path / name / "data.csv", digits)
    names = [file.name for file in read(tmp_path)]
    assert len(set(names)) == 24
    assert names[0] == "one__data-000000.png"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (gzip.compress(b"1,2,3,4,5\n" * 100, mtime=0)[:-12], "x.csv cannot be read"),
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
