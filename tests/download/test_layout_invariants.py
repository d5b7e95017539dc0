"""Whatever the layout, a set has the same classes, counts and files; parts are found in any spelling."""

import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.download import layout, sources
from darkroom.download.parts import parts_by_name
from darkroom.images.folders import is_clutter
from tests.helpers.pictures import download_params

SPELLINGS = {
    "train": ["train", "Train", "TRAINING", "training_set", "seg_train", "train-data", "trainset", "Train 2024", "trn"],
    "val": ["val", "Valid", "validation", "dev", "val_images", "ValidationSet"],
    "test": ["test", "TESTING", "test_set", "Test Images", "eval", "test1"],
}
# A path from the names of part, class and picture; those without a part are for sets without official parts.
CLASSES = ["{c}/{n}", "x/{c}/{n}", "x y/deep/{c}/{n}", "{c}/inner/{n}", "{c}/{c}/{n}"]
WITH_PARTS = ["{p}/{c}/{n}", "{p}/{p}/{c}/{n}", "x/{p}/{c}/{n}", "{p}/pictures/{c}/{n}", "{c}/{p}/{n}", "x/{c}/{p}/{n}"]
BESIDE = ["readme.txt", "x/LICENSE", ".DS_Store", "Thumbs.db", "__MACOSX/._a.png", "docs/index.html", "labels.csv"]


def is_ordinary(name):
    """Whether a name cannot be taken for anything but a class."""
    other = {*layout._CONTAINERS, "x", "docs", "inner", "pictures"}
    return not (parts_by_name([name]) or is_clutter(name) or name.lower() in other)


names = st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=8).filter(is_ordinary)
class_names = st.lists(names, min_size=2, max_size=4, unique_by=lambda name: name.casefold())


def read(paths):
    """The files of a folder with these pictures, and what else lies about."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"x")
        source = sources.read(download_params(path=folder), Path(folder))
        return [file for file in source.files if file.label], source.details


@settings(max_examples=25, deadline=None)
@given(st.data(), class_names)
def test_a_set_has_the_same_classes_in_every_layout(data, classes):
    counts = {label: data.draw(st.integers(1, 3), label) for label in classes}
    beside = data.draw(st.lists(st.sampled_from(BESIDE), unique=True))
    results = []
    for form in CLASSES:
        pictures = [form.format(c=label, n=f"{row}.png") for label in classes for row in range(counts[label])]
        files, _ = read([*pictures, *(name for name in beside if form.startswith("x/") or not name.startswith("x/"))])
        assert Counter(file.label for file in files) == {unicodedata.normalize("NFC", c): n for c, n in counts.items()}
        results.append({(file.part, file.label, file.name.removeprefix("inner__").split("__")[-1]) for file in files})
    assert all(result == results[0] for result in results)


@settings(max_examples=25, deadline=None)
@given(st.data(), class_names)
def test_a_set_has_the_same_parts_in_every_layout(data, classes):
    parts = ["train", *data.draw(st.sampled_from([["test"], ["val"], ["val", "test"]]))]
    spelled = {part: data.draw(st.sampled_from(SPELLINGS[part]), part) for part in parts}
    expected = {
        (part, unicodedata.normalize("NFC", label), f"{row}.png")
        for part in parts
        for label in classes
        for row in range(data.draw(st.integers(1, 3)))
    }
    for form in WITH_PARTS:
        paths = [form.format(p=spelled[part], c=label, n=name) for part, label, name in sorted(expected)]
        files, _ = read(paths)
        assert {(file.part, file.label, file.name) for file in files} == expected


@given(st.lists(st.sampled_from(sorted(SPELLINGS)), unique=True, min_size=1), st.data())
def test_parts_are_found_in_any_spelling(parts, data):
    spelled = {data.draw(st.sampled_from(SPELLINGS[part])): part for part in parts}
    assert parts_by_name([*spelled, "bullet train", "test_patient", "contest", "valley", "devil"]) == spelled
    prefixed = {f"asl_alphabet_{name}": part for name, part in spelled.items()}
    assert parts_by_name(prefixed) == (prefixed if len(prefixed) > 1 else {})
