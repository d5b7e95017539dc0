"""Inspecting folders: what is found in them, what is recommended, and that the pipeline then takes them as they are."""

import functools
import gzip
import re
import shutil
from pathlib import Path

import pytest

from darkroom.commands.inspect import advice, command
from darkroom.core.errors import UserError
from darkroom.core.files import read_csv, read_json
from darkroom.core.params import flat
from darkroom.pipeline import params, recipes
from tests.helpers.inspected_folders import FOLDERS, TINY, classes, damaged, fill, official_test
from tests.helpers.stages import run_stages

main = functools.partial(command.main, forecast=False)


@pytest.fixture
def project(workspace):
    (workspace / "data/incoming").mkdir(parents=True)
    (workspace / "data/unlabelled").mkdir()
    return workspace


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_many_kinds_work_with_what_is_recommended(name, project, capsys):
    make, expected = FOLDERS[name]
    before = (project / "params.yaml").read_text()
    path = make(project / "data/incoming") or project / "data/incoming"
    main(path, write=False)
    assert (project / "params.yaml").read_text() == before
    assert sorted(entry.name for entry in project.iterdir()) == ["data", "params.yaml"]
    main(path, write=True)
    settings = flat(params.complete(params.load()))
    assert {key: settings[key] for key in expected} == expected
    text = capsys.readouterr().out
    run_stages(("download", "split"))
    report, counts = read_json(project / "reports/dataset.json"), read_json(project / "reports/split.json")["classes"]
    assert all(min(count.values()) > 0 for count in counts.values())
    assert len(counts) >= 2
    assert f"{report['kept']:,} pictures" in text or settings["download.classes"]
    assert (
        len(read_csv(project / "reports/split.csv")) + len(read_json(project / "reports/split.json")["left_out"])
        == report["kept"]
    )
    main(path, write=False)
    assert "has the settings that suit these pictures" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.parametrize(
    "name",
    [
        "few_pictures",
        "rows_of_pixels",
        *(pytest.param(name, marks=pytest.mark.table) for name in ("patients_in_names", "twelve_times_as_many")),
    ],
)
def test_the_whole_pipeline_works_with_what_is_recommended(name, project, tensorflow):
    make, _ = FOLDERS[name]
    make(project / "data/incoming")
    (project / "data/weights").mkdir()
    main(Path("data/incoming"), write=True)
    run_stages()
    assert read_json(project / "reports/metrics.json")["accuracy"] > 0
    assert (project / "exports/model.onnx").is_file()


def test_what_was_found_is_said(project, capsys):
    damaged(project / "data/incoming")
    main(Path("data/incoming"), write=False)
    text = capsys.readouterr().out
    for sentence in (
        "a folder for each class: cat, dog",
        "89 pictures of 2 classes: in colour, 160 x 120 pixels.",
        "Unusable: 2 files (empty file), such as train/cat/empty.jpg.",
        "Unusable: 2 files (the same picture is in another class), such as ",
        "Left out: 2 copies of other pictures, such as train/cat/copy of 001.jpg.",
        "- download.source: tfds\n+ download.source: folder\n",
        "python -m darkroom inspect data/incoming --write",
    ):
        assert sentence in text


def test_it_ends_with_a_forecast(project, capsys):
    damaged(project / "data/incoming")
    command.main(Path("data/incoming"), write=True, forecast=True)
    lines = capsys.readouterr().out.split("A run with these settings, on this machine:\n\n")[1].splitlines()
    assert [line.split()[0] for line in lines[:9]] == ["stage", *params.STAGES, "in"]
    assert all(re.fullmatch(r"\w+( all)? +\d\d:\d\d +[\d.]+ [kMG]?B(ytes)? +[\d.]+ \w+", line) for line in lines[1:9])


def test_of_many_classes_the_largest_and_the_smallest_are_listed(project, capsys):
    for number in range(40):
        fill(project / "data/incoming", f"{number:02d}/{{}}", 40 - number, TINY)
    main(Path("data/incoming"), write=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.endswith("#")] == [
        [f"{number:02d}", str(40 - number)] for number in (*range(15), *range(25, 40))
    ]
    assert "… 10 more" in lines


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda place: None, "has no pictures"),
        (lambda place: fill(place, "only/{}", 9), "there is only one class, only"),
        (lambda place: [fill(place, "a/{}", 9), fill(place, "b/{}", 2)], "class b has 2 different training pictures"),
        (lambda place: [fill(place, "a/{}", 9), (place / "b").mkdir()], "class b has 0 different training pictures"),
        (lambda place: [fill(place, "a/{}", 9), shutil.copytree(place / "a", place / "b")], "no good picture, such"),
        (lambda place: fill(place, "{}", 9), "it has pictures, but no class folders"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_used_are_refused_in_one_sentence(make, sentence, project):
    make(project / "data/incoming")
    before = (project / "params.yaml").read_text()
    with pytest.raises(UserError, match=sentence):
        main(Path("data/incoming"), write=True)
    assert (project / "params.yaml").read_text() == before


def table_of(place, header, *columns):
    fill(place, "images/{}", 60)
    paths = sorted((place / "images").iterdir())
    rows = [(f"images/{path.name}", "cat" if number % 2 else "dog", *columns) for number, path in enumerate(paths)]
    (place / "labels.csv").write_text("\n".join([header, *map(",".join, rows)]))


@pytest.mark.parametrize("columns", [(), ("1", "2"), ("7",) * 8])
def test_a_csv_file_of_labels_is_no_file_of_pixels(columns, project):
    """With 2, 4 or 10 columns: 1, 3 and 9 are squares, or three of them."""
    place = project / "data/incoming"
    table_of(place, ",".join(["file", "label", *(f"extra{number}" for number in range(len(columns)))]), *columns)
    main(place / "labels.csv", write=True)
    assert params.load()["download"]["source"] == "table"
    run_stages(("download", "split"))


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("nope.csv", None, "does not exist"),
        ("cut.csv.gz", gzip.compress(b"a,b\n" * 90, mtime=0)[:30], "cut.csv.gz"),
        ("long.csv", b"x" * 200_000 + b",1\n", "is not a CSV file"),
    ],
)
def test_damaged_tables_are_refused_in_one_sentence(name, data, sentence, project):
    if data is not None:
        (project / name).write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        main(Path(name), write=False)


def test_settings_for_another_source_do_not_stand_in_the_way(project):
    classes(project / "data/incoming")
    content = params.load()
    content["download"] |= {
        "source": "archive", "sha256": 64 * "a", "pictures": "elsewhere", "layout": "parts", "label_from": "x",
        "table": {"label": "breed"}, "csv": {"shape": [3, 3]}, "parts": {"train": "t"}, "classes": ["horse"],
        "min_side": 20,
    }  # fmt: skip
    recipes.write_params(content)
    main(Path("data/incoming"), write=True)
    assert params.load()["download"]["min_side"] == 20
    run_stages(("download", "split"))


def test_the_head_suits_the_pictures_after_balancing(project, monkeypatch):
    monkeypatch.setattr(advice, "KERNEL", 300)
    for number in range(5):
        fill(project / "data/incoming", f"{number}/{{}}", 100 if number == 0 else 60, TINY)
    main(Path("data/incoming"), write=True)
    settings = flat(params.complete(params.load()))
    assert (settings["augment.target"], settings["train.head.type"]) == ("max", "dense")  # 340 pictures become 500


def test_a_class_that_an_official_part_lacks_is_left_out(project):
    official_test(project / "data/incoming")
    fill(project / "data/incoming", "test/zebra/{}", 9)
    main(Path("data/incoming"), write=True)
    assert params.load()["download"]["classes"] == ["cat", "dog"]
    run_stages(("download", "split"))


def test_a_name_that_dvc_would_not_find_is_refused(project):
    fill(project, "$HOME/cat/{}", 3)
    with pytest.raises(UserError, match=r"download: path is '\$HOME', but DVC takes that literally"):
        main(Path("$HOME"), write=False)
