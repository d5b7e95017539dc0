"""Names of classes and files that would act on a terminal, a table or a page: they are read, and break nothing."""

import pytest

from darkroom.core.errors import UserError
from darkroom.core.files import read_csv, write_csv
from darkroom.download.sources.base import SourceFile
from darkroom.download.validation import Bounds, jobs
from tests.helpers.odd_files import photo

NAMES = ["a\rb", "c\td", "e\nf", "\x1b[2Jg", "h\u202ei", "<script>alert(1)</script>", "=1+1", "|j|", "$k$", "`l`", "_m"]
CLEAN = ["a_b", "c_d", "e_f", "_[2Jg", "h_i", "<script>alert(1)</script>", "=1+1", "|j|", "$k$", "`l`", "_m"]


def test_a_class_has_no_character_that_cannot_be_seen(tmp_path):
    """A line break would end a line of labels.txt, and an escape sequence would act on the terminal."""
    files = [SourceFile("train", name, "1.png", photo(1)) for name in NAMES]
    labels = [job.file.label for job in jobs(files, tmp_path, Bounds(1, 1e8), 1)]
    assert labels == CLEAN


def test_two_classes_that_would_get_one_name_are_refused(tmp_path):
    files = [SourceFile("train", name, "1.png", photo(1)) for name in ("a\rb", "a\nb")]
    with pytest.raises(UserError, match=r"^classes 'a\\rb' and 'a\\nb' would have the same name, a_b: rename one\.$"):
        list(jobs(files, tmp_path, Bounds(1, 1e8), 1))


def test_names_come_back_from_a_table(tmp_path):
    write_csv(tmp_path / "x.csv", ("picture", "class"), [(f"{name}.png", name) for name in NAMES])
    assert [row["class"] for row in read_csv(tmp_path / "x.csv")] == NAMES
