"""Folders of many kinds to inspect, each with what must be recommended for it."""

import shutil
import tarfile
import zlib

import numpy as np
from PIL import Image

from darkroom.commands.inspect.findings import PATTERNS
from tests.helpers.pictures import photograph
from tests.helpers.source_files import write_csv, write_idx_pair

FOLDERS, TINY = {}, (28, 28)
NAMES, INSIDE = reversed(PATTERNS), next(iter(PATTERNS))
IN_NAMES = next(NAMES)


def folder(**expected):
    """Register a function that fills a folder, and what must be recommended for it; keys have `__` for a dot."""

    def register(make):
        FOLDERS[make.__name__] = (make, {key.replace("__", "."): value for key, value in expected.items()})
        return make

    return register


def fill(target, name, count, size=(120, 160), suffix=".jpg"):
    """Pictures whose names are `name` with {} for their number."""
    for number in range(count):
        path = target / (name.replace("{}", f"{number:03d}") + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(1000 * zlib.crc32(name.encode()) + number, *size).save(path)


PHOTOS = {"extract.image_size": [128, 128], "extract.layers": ["block5_pool"], "download.near_duplicates": 0.9}


@folder(download__source="folder", split__method="ratio", augment__target="none", train__head__type="rbf_svm")
def classes(place):
    fill(place, "cat/{}", 45)
    fill(place, "dog/{}", 45)


@folder(download__near_duplicates=0.95, extract__image_size=[48, 48], extract__pooling="flatten")
def small_grey_pictures(place):
    for label in ("a", "b"):
        fill(place, f"{label}/{{}}", 45, TINY, suffix=".png")
    for path in place.rglob("*.png"):
        Image.open(path).convert("L").save(path)


@folder(extract__image_size=[224, 224])
def large_photographs(place):
    fill(place, "cat/{}", 41, (200, 300))
    fill(place, "dog/{}", 41, (200, 300))


@folder(augment__target="max", train__class_weights="none")
def twice_as_many(place):
    fill(place, "cat/{}", 90)
    fill(place, "dog/{}", 45)


@folder(augment__target="none", train__class_weights="balanced")
def twelve_times_as_many(place):
    fill(place, "cat/{}", 500, TINY)
    fill(place, "dog/{}", 41, TINY)


@folder(split__method="ratio")
def official_test(place):
    for part, count in (("train", 45), ("test", 10)):
        fill(place, f"{part}/cat/{{}}", count)
        fill(place, f"{part}/dog/{{}}", count)


@folder(split__method="ratio")
def official_parts(place):
    for part, count in (("Training", 12), ("valid", 5), ("TestSet", 2)):
        fill(place, f"set/{part}/cat/{{}}", count)
        fill(place, f"set/{part}/dog/{{}}", count)
    (place / "set/readme.txt").write_text("about the set")


@folder(split__method="kfold", split__folds=5)
def few_pictures(place):
    fill(place, "cat/{}", 9)
    fill(place, "dog/{}", 30)


@folder(download__classes=["cat", "dog"])
def a_class_of_two(place):
    fill(place, "bat/{}", 2)
    fill(place, "cat/{}", 42)
    fill(place, "dog/{}", 42)


@folder(download__classes=["cat", "dog"])
def a_class_of_damaged_files(place):
    classes(place)
    (place / "bat").mkdir()
    for number in range(9):
        (place / f"bat/{number}.jpg").write_bytes((place / "cat/000.jpg").read_bytes()[:900])


@folder(split__group=IN_NAMES)
def patients_in_names(place):
    for patient in range(12):
        for label in ("ill", "well"):
            fill(place, f"{label}/patient_{patient}_{{}}", 4)


@folder(split__group=INSIDE)
def a_folder_for_each_object(place):
    for number in range(12):
        for label in ("cup", "pan"):
            fill(place, f"{label}/{label}{number}/view{{}}", 4)


@folder(split__group=None)
def names_without_groups(place):
    for label in ("rose", "tulip"):
        fill(place, f"{label}/{{}}", 45)
        for number, path in enumerate(sorted((place / label).iterdir())):
            path.rename(path.with_name(f"{10140303196 + 7 * number}_b{number}d3d6ce{number}c.jpg"))


@folder(split__method="kfold")
def bursts(place):
    """Pictures that were saved again and again count once."""
    for label in ("cat", "dog"):
        fill(place, f"{label}/{{}}", 12)
        for path in list((place / label).iterdir()):
            for quality in (60, 70, 80):
                Image.open(path).save(path.with_stem(f"{path.stem}x{quality}"), quality=quality)


@folder(split__method="ratio", download__source="folder")
def damaged(place):
    for label in ("cat", "dog"):
        fill(place, f"{label}/{{}}", 45)
        shutil.copy(place / label / "001.jpg", place / label / "copy of 001.jpg")
        (place / label / "empty.jpg").touch()
        (place / label / "cut.jpg").write_bytes((place / label / "002.jpg").read_bytes()[:900])
        (place / label / "notes.txt").write_text("no picture")
    shutil.copy(place / "cat/003.jpg", place / "dog/a cat.jpg")


@folder(download__source="archive")
def zip_file(place):
    classes(place / "pets")
    shutil.make_archive(str(place / "pets"), "zip", place, "pets")
    shutil.rmtree(place / "pets")
    return place / "pets.zip"


@folder(download__source="folder")
def folder_of_archives(place):
    classes(place / "pets")
    with tarfile.open(place / "pets.tar.gz", "w:gz") as archive:
        archive.add(place / "pets", "pets")
    shutil.rmtree(place / "pets")


def rows(count, shape=TINY, start=0):
    for number in range(count):
        pixels = np.asarray(photograph(start + number, *shape[:2]))
        yield number % 3, pixels if shape[2:] else pixels[..., 0]


@folder(download__source="csv", download__csv__shape=[28, 28])
def rows_of_pixels(place):
    write_csv(place / "mnist_train.csv", rows(150), header=784)
    write_csv(place / "mnist_test.csv", rows(30, start=500), header=784)


@folder(download__source="csv", download__csv__shape=[12, 12, 3])
def rows_of_colours(place):
    write_csv(place / "pixels.csv", rows(150, (12, 12, 3)))
    return place / "pixels.csv"


@folder(download__source="idx")
def idx(place):
    write_idx_pair(place, "train", rows(150))
    write_idx_pair(place, "t10k", rows(30, start=500))


@folder(download__source="table")
def a_table_and_pictures(place):
    fill(place, "images/{}", 90)
    lines = [
        f"images/{path.name},{'cat' if number % 2 else 'dog'}"
        for number, path in enumerate(sorted((place / "images").iterdir()))
    ]
    (place / "labels.csv").write_text("\n".join(["file,label", *lines]))


@folder(download__source="folder", download__label_from=None)
def metadata(place):
    fill(place, "{}", 90)
    lines = [f"{path.name},{'cat' if number % 2 else 'dog'}" for number, path in enumerate(sorted(place.iterdir()))]
    (place / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))


@folder(download__source="folder", download__label_from=r"^(.*?)[._ -]*\d+\.\w+$")
def classes_in_names(place):
    fill(place, "cat.{}", 45)
    fill(place, "dog.{}", 45)


@folder(download__source="folder")
def strange_names(place):
    for label in ("Café au lait", "null", "0", "<b>&", "日本"):
        fill(place, f"{label}/it's {{}} [ö]", 41, TINY)


@folder(download__source="folder")
def many_formats(place):
    for number, suffix in enumerate((".png", ".jpg", ".webp", ".gif", ".bmp", ".tif")):
        fill(place, "cat/{}" + f"-{number}", 8, (90 + 20 * number, 140), suffix=suffix)
        fill(place, "dog/{}" + f"-{number}", 8, (90 + 20 * number, 140), suffix=suffix)
