"""Tables of pictures as they are found in the wild; each function here writes one into a folder.

It returns settings of the stage, and with `notes` the beginnings of lines that must be printed.
"""

import csv
import json

import pyarrow as pa
from pyarrow import parquet

from tests.helpers.small_sets import files_in, small_picture, write_layout

FOLDERS = "cat 9, dog 8"
FLAT = "images/cat*.png 9, images/dog*.png 8"


def rows_of(layout):
    """`(path, label)` of each picture of a layout: the class is its folder, or the start of its name in `images`."""
    paths = files_in(layout)
    return [(path, path.split("/")[-1][:3] if path.startswith("images") else path.split("/")[0]) for path in paths]


def write_csv(path, header, rows, delimiter=",", encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows] if header else rows)


def write_jsonl(path, header, rows):
    path.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows))


def write_parquet(path, header, rows, names=None):
    columns = {name: [row[number] for row in rows] for number, name in enumerate(header)}
    table = pa.table(columns)
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


def as_it_is(path, label):
    return path, label


def plain(layout, header=("file", "label"), change=as_it_is, write=write_csv, name="labels.csv"):
    """A table beside its pictures."""

    def make(folder):
        write_layout(folder, layout)
        write(folder / name, header, [change(*row) for row in rows_of(layout)])
        return {}

    return make


def embedded(folder):
    """Parquet files of Hugging Face: pictures as bytes, numbers of classes with their names, parts in file names."""
    for part, counts in (("train", (9, 8)), ("test", (4, 4))):
        rows = []
        for label, count in enumerate(counts):
            start = 100 * (part == "test") + 50 * label
            pictures = [small_picture(start + number) for number in range(count)]
            rows += [({"bytes": data, "path": f"{label}_{row}.png"}, label) for row, data in enumerate(pictures)]
        write_parquet(folder / f"data/{part}-00000-of-00001.parquet", ("image", "label"), rows, ["cat", "dog"])
    return {}


def binary(folder):
    rows = [(small_picture(number), "cat" if number < 9 else "dog") for number in range(17)]
    write_parquet(folder / "set.parquet", ("img", "class"), rows)
    return {"path": "set.parquet"}


def kaggle(folder):
    """Labels in train.csv, an unlabelled test.csv, a sample submission, pictures without their suffix."""
    write_layout(folder, "train/*.jpg 17, test/*.jpg 5")
    labels = [(number, "cat" if number < 10 else "dog") for number in range(1, 18)]
    write_csv(folder / "train.csv", ("id", "breed"), labels)
    write_csv(folder / "test.csv", ("id",), [(number,) for number in range(1, 6)])
    write_csv(folder / "sample_submission.csv", ("id", "breed"), [(number, "cat") for number in range(1, 6)])
    return {"notes": ["test.csv is left out: it has no column of labels", "sample_submission.csv is left out",
                      "5 pictures are in no row and left out, such as test/1.jpg"]}  # fmt: skip


def metadata_in_parts(folder):
    """Image folders as Hugging Face writes them."""
    for part, layout in (("train", "cat*.png 9, dog*.png 8"), ("test", "cat*.png 4, dog*.png 4")):
        write_layout(folder / part, layout)
        rows = [(name, name[:3]) for name in files_in(layout)]
        write_csv(folder / part / "metadata.csv", ("file_name", "label"), rows)
    for number, path in enumerate(sorted((folder / "test").glob("*.png"))):
        path.write_bytes(small_picture(200 + number))
    return {"source": "folder"}


def deep_ids(folder):
    """Only the names of pictures, which lie in several folders."""
    write_layout(folder, "part_1/ISIC_*.jpg 9, part_2/ISIC_1*.jpg 8")
    names = sorted(path.stem for path in folder.rglob("*.jpg"))
    rows = [(name, 50, ("nv", "mel")[row % 2]) for row, name in enumerate(names)]
    write_csv(folder / "meta.csv", ("image_id", "age", "dx"), rows)
    return {}


def missing_rows(folder):
    write_layout(folder, FLAT)
    odd = [("images/none.png", "cat"), ("", "cat"), ("images/dog7.png", ""), ("images/cat1.png", "cat")]
    write_csv(folder / "labels.csv", ("file", "label"), [*rows_of(FLAT)[:-2], *odd])
    return {"notes": ["4 rows cannot be used, such as images/none.png: there is no such file (labels.csv, row 16)",
                      "2 pictures are in no row and left out, such as images/dog7.png"]}  # fmt: skip


def away(folder):
    """The table in one place, the pictures in another."""
    write_layout(folder / "store/jpegs", "a*.png 9, b*.png 8")
    names = sorted(path.name for path in folder.rglob("*.png"))
    write_csv(folder / "tables/t.csv", ("filename", "class"), [(name, name[0]) for name in names])
    return {"pictures": str(folder / "store/jpegs")}


def with_parts(values, column="split", **settings):
    """Of twelve pictures of a class eight are train, two val and two test."""

    def make(folder):
        layout = "images/cat*.png 12, images/dog*.png 12"
        write_layout(folder, layout)
        parts = [values[(number % 12 >= 8) + (number % 12 >= 10)] for number in range(24)]
        rows = [(*row, part) for row, part in zip(rows_of(layout), parts, strict=True)]
        write_csv(folder / "labels.csv", ("image", "label", column), rows)
        return dict(settings)

    return make
