"""Which of a source's files are used, in any order in which the source lists them."""

import random
from collections import Counter

import pytest

from darkroom.core.errors import UserError
from darkroom.download import selection
from darkroom.download.sources.base import SourceFile
from stages import download
from tests.helpers.odd_files import photo
from tests.helpers.pictures import bytes_by_name, download_params, save
from tests.helpers.source_files import files_of

pytestmark = pytest.mark.usefixtures("single_process")


def empty_files(*labels):
    return [SourceFile("train", label, f"{number}.png", b"") for number, label in enumerate(labels)]


def test_classes_are_chosen_renamed_and_merged():
    chosen = selection.of_classes(empty_files("a", "b", "c", "a"), ["a", "c"], ignored := Counter())
    assert [file.label for file in chosen] == ["a", "c", "a"]
    assert ignored == {"b": 1}
    merged = selection.of_classes(empty_files("a", "b", "c"), {"a": "cat", "c": "cat"}, Counter())
    assert [file.label for file in merged] == ["cat", "cat"]
    assert [file.label for file in selection.of_classes(empty_files("a", "b"), None, Counter())] == ["a", "b"]


def test_a_missing_class_is_named():
    with pytest.raises(UserError, match="the source has no class dog, but a, b"):
        list(selection.of_classes(empty_files("b", "a"), ["a", "dog"], Counter()))


def collect(files, folder, seed=1, **changes):
    return download.collect(files, folder, download_params(**{"on_bad": "drop"} | changes), seed)[1]


def test_merged_classes_keep_the_files_of_both(tmp_path):
    for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]):
        save(tmp_path / "in" / name, photo(number))
    report = collect(files_of("folder", tmp_path / "in"), tmp_path / "out", classes={"cat": "animal", "dog": "animal"})
    assert report["classes"] == {"animal": 4}


def test_two_labels_are_bad_but_copies_are_not(tmp_path):
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save(tmp_path / "in" / name, photo(9 if name != "dog/1.png" else 1))
    save(tmp_path / "in/dog/2.png", photo(2))
    report = collect(files_of("folder", tmp_path / "in"), tmp_path / "out", on_bad="fail")
    assert (report["kept"], len(report["dropped"])) == (3, 1)
    save(tmp_path / "in/dog/3.png", photo(9))  # that of the cats
    with pytest.raises(UserError, match="which label is right"):
        collect(files_of("folder", tmp_path / "in"), tmp_path / "again", on_bad="fail")


def test_the_order_does_not_matter_where_a_picture_is_in_many_classes(tmp_path):
    for label in "abcd":
        save(tmp_path / f"in/{label}/same.png", photo(1))
        save(tmp_path / f"in/{label}/own.png", photo(ord(label)))
    files = files_of("folder", tmp_path / "in")
    reports = []
    for number in range(4):
        random.Random(number).shuffle(files)
        reports.append(collect(files, tmp_path / str(number)))
    assert len(reports[0]["dropped"]) == 4
    assert all(report == reports[0] for report in reports)


def test_the_limit_chooses_the_same_pictures_in_any_order(tmp_path):
    files = [SourceFile("train", f"class{number % 3}", f"{number}.png", photo(number)) for number in range(60)]
    files += [SourceFile("test", f"class{number % 3}", f"{number}.png", photo(number)) for number in range(60, 84)]
    kept = []
    for number in range(3):
        random.Random(number).shuffle(files)
        report = collect(files, tmp_path / str(number), limit_per_class=5, seed=7)
        assert report["classes"] == {"class0": 13, "class1": 13, "class2": 13}  # the official test stays whole
        assert (report["found"], report["beyond_limit_per_class"]) == (39, 45)
        kept.append(bytes_by_name(tmp_path / str(number)))
    assert kept[0] == kept[1] == kept[2]
    collect(files, tmp_path / "other", limit_per_class=5, seed=8)
    assert set(bytes_by_name(tmp_path / "other")) != set(kept[0])
