"""The command predict: which files, in which order, what is written where, and that batches change nothing."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.commands.predict import command as predict
from darkroom.commands.predict import output
from darkroom.core.errors import UserError
from darkroom.images.decode import decode
from darkroom.inference import formats, predictor
from darkroom.inference.formats import FORMATS
from tests.helpers.pictures import CLASSES, save
from tests.helpers.project import ROOT, interruptible, run

KINDS = ("onnx", "litert", "saved_model")


@pytest.fixture(scope="session")
def exports(small_model):
    """A folder with a small model in three formats."""
    return small_model / "exports"


@pytest.fixture
def album(tmp_path, fashion):
    """Real pictures of several sizes and kinds, and what a folder has besides them."""
    chosen = [path for label in CLASSES for path in sorted((fashion / "test" / label).iterdir())[:4]]
    for number, path in enumerate(chosen, start=1):
        image = Image.open(path)
        if number % 3 == 0:
            image = image.resize((40, 60))
        (tmp_path / "album").mkdir(exist_ok=True)
        image.save(tmp_path / "album" / f"{number}.{'jpg' if number % 2 else 'png'}")
    (tmp_path / "album/more/.thumbs").mkdir(parents=True)
    for name in ("more/22.PNG", "more/3.png", ".hidden.png", "more/.thumbs/1.png", "more/without an ending"):
        shutil.copy(chosen[0], tmp_path / "album" / name)
    (tmp_path / "album/notes.txt").write_text("no picture")
    (tmp_path / "album/4.png").write_bytes(chosen[3].read_bytes()[:200])
    return tmp_path / "album"


NAMES = ["1.jpg", "2.png", "3.jpg", "4.png", *(f"{n}.{'jpg' if n % 2 else 'png'}" for n in range(5, 13))]


@pytest.fixture
def command(exports, capsys):
    """Call the command in this process: its exit code, standard output and standard error."""

    def called(*paths, model=exports, form="table", top=3):
        try:
            predict.main([str(path) for path in paths], Path(model), True, form, top, None)
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return called


def process(exports, *arguments):
    """Run the command in a process of its own, which imports no TensorFlow."""
    command = ("python", "-m", "darkroom", "predict", "--model", str(exports), *map(str, arguments))
    return run(*command, cwd=ROOT, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_change_nothing(exports, album, pictures, kind):
    exported = formats.load(exports / FORMATS[kind].file, trust=True)
    right_class = [path for path in pictures if path.parent.name in CLASSES][::2]
    paths = [*right_class, *(path for path, _ in predict.find([str(album)])), pictures[0], album / "notes.txt"]
    results = list(predictor.classify(exported, paths))
    assert [path for path, _ in results] == paths
    for path, result in results:
        if path.name in ("4.png", "notes.txt"):
            assert isinstance(result, UserError)
        else:
            assert np.abs(result - exported.probabilities(decode(path)[None])[0]).max() <= 1e-6
    count = len(right_class)
    right = [exported.classes[result.argmax()] == path.parent.name for path, result in results[:count]]
    assert sum(right) > 0.9 * count > 70


def test_folders_patterns_and_names(album, tmp_path, monkeypatch):
    def names(*given):
        return [str(path.relative_to(tmp_path)) if error is None else str(error) for path, error in predict.find(given)]

    assert names(str(album)) == [f"album/{name}" for name in (*NAMES, "more/3.png", "more/22.PNG")]
    assert names(f"{album}/notes.txt", f"{album}/more/without an ending", f"{album}/notes.txt") == [
        "album/notes.txt",
        "album/more/without an ending",
        "album/notes.txt",
    ]
    assert names(f"{album}/**/*2.png", f"{album}/1[01].*") == [
        *("album/2.png", "album/12.png"),
        *("album/10.png", "album/11.jpg"),
    ]
    assert names(f"{album}/mor*") == ["album/more/3.png", "album/more/22.PNG"]
    save(album / "a[1].png", np.zeros((3, 3, 3), np.uint8))
    assert names(f"{album}/a[1].png") == ["album/a[1].png"]
    (tmp_path / "empty").mkdir()
    assert names(f"{tmp_path}/empty", f"{tmp_path}/nowhere", f"{tmp_path}/*.gif", "https://host/picture.png") == [
        "there are no pictures",
        *["there is no such file or folder"] * 3,
    ]
    monkeypatch.chdir(album)
    assert [str(path) for path, _ in predict.find(["more", "1.jpg"])] == ["more/3.png", "more/22.PNG", "1.jpg"]


@pytest.fixture
def somebody():
    """Root may read everything: be another user meanwhile."""
    user = os.geteuid()
    os.seteuid(user or 65_534)
    yield
    os.seteuid(user)


@pytest.fixture
def closed(album, tmp_path, monkeypatch):
    """An unreadable subfolder, and a link into one."""
    (album / "more/locked/inside").mkdir(parents=True)
    (album / "link.png").symlink_to(album / "more/locked/inside")
    (album / "more/again").symlink_to(album)
    (album / "more/locked").chmod(0)
    monkeypatch.chdir(album)
    yield
    (album / "more/locked").chmod(0o700)


@pytest.mark.usefixtures("closed", "somebody")
def test_an_unreadable_folder_is_named():
    found = predict.find(["."])
    assert [str(path) for path, _ in found] == [*NAMES, "link.png", "more/3.png", "more/22.PNG", "more/locked"]
    assert {str(path): str(error) for path, error in found if error} == {
        "more/locked": "cannot be read (Permission denied)"
    }


def test_class_names_do_nothing_to_a_terminal():
    predictions = [output.Prediction(Path("x.png"), [("a\x1b[2Jb", 0.75), ("c\nd", 0.25)])]
    out = io.StringIO()
    assert output.write(predictions, "table", out, [Path("x.png")], ["a\x1b[2Jb", "c\nd"], 2) == 0
    assert out.getvalue() == "picture  label   probability  then\nx.png    a?[2Jb       0.7500  c?d 0.2500\n"


def test_exit_codes(command, exports, album):
    codes = {("1.jpg",): 0, ("1.jpg", "notes.txt"): 2, ("notes.txt", "4.png"): 1}
    for names, code in codes.items():
        assert command(*(album / name for name in names))[0] == code
    done = process(exports, album / "1.jpg", album / "notes.txt", "--format", "csv", "--top", 1)
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == "path,label,probability,error"
    assert done.stderr == f"predict: {album}/notes.txt: not a picture of a known format\n"


def test_json_csv_and_table_agree(command, exports, album):
    missing = (album, album / "notes.txt", album / "nowhere")
    code, out, err = command(*missing, form="json", top=2)
    assert code == 2
    entries = json.loads(out)
    assert [entry["path"] for entry in entries] == [
        str(album / name) for name in (*NAMES, "more/3.png", "more/22.PNG", "notes.txt", "nowhere")
    ]
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"predict: {album}/4.png: cannot be decoded (")
    assert lines[1] == f"predict: {album}/notes.txt: not a picture of a known format"
    assert lines[2] == f"predict: {album}/nowhere: there is no such file or folder"
    exported = formats.load(exports / "model.onnx")
    for entry in entries:
        if "error" in entry:
            assert set(entry) == {"path", "error"}
            assert f"predict: {entry['path']}: {entry['error']}" in lines
            continue
        expected = dict(zip(CLASSES, exported.probabilities(decode(album / entry["path"])[None])[0], strict=True))
        assert list(entry) == ["path", "label", "probability", "top"]
        assert entry["label"] == max(expected, key=expected.get)
        assert entry["top"][0] == {"label": entry["label"], "probability": entry["probability"]}
        assert [row["label"] for row in entry["top"]] == sorted(CLASSES, key=expected.get, reverse=True)[:2]
        for row in entry["top"]:
            assert row["probability"] == pytest.approx(expected[row["label"]], abs=2e-6)

    code, out, _ = command(*missing, form="csv", top=2)
    assert code == 2
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["path"] for row in rows] == [entry["path"] for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        assert row["error"] == entry.get("error", "")
        assert row["label"] == entry.get("label", "")
        if "top" in entry:
            assert (row["label_2"], float(row["probability_2"])) == tuple(entry["top"][1].values())

    code, out, err = command(album / "1.jpg", album / "12.png")
    assert (code, err) == (0, "")
    header, *table = out.splitlines()
    assert header.split() == ["picture", "label", "probability", "then"]
    by_path = {entry["path"]: entry for entry in entries}
    for line, name in zip(table, ["1.jpg", "12.png"], strict=True):
        path, label, probability, *then = line.split()
        entry = by_path[str(album / name)]
        assert (path, label) == (entry["path"], entry["label"])
        assert float(probability) == pytest.approx(entry["probability"], abs=1e-4)
        assert len(then) == 4  # two more classes


@pytest.mark.parametrize(
    ("model", "paths", "sentence"),
    [
        (None, ["nowhere.png"], "nowhere.png: there is no such file or folder."),
        (None, ["a?b", "c"], "a?b: there is no such file or folder; c: there is no such file or folder."),
        ("nowhere", [ROOT / "README.md"], "there is no model at nowhere: run `dvc repro`, which makes exports."),
    ],
)
def test_an_error_is_one_sentence(command, exports, model, paths, sentence):
    with pytest.raises(UserError) as error:
        command(*paths, model=model or exports)
    assert str(error.value) == sentence


def test_an_error_of_the_process(exports):
    done = process(exports, "nowhere.png")
    sentence = "predict: nowhere.png: there is no such file or folder.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_odd_file_names(exports, album, tmp_path, monkeypatch):
    """Bytes that are not UTF-8, a line break, a quote: JSON and CSV preserve every path."""
    odd = [os.fsencode(tmp_path) + b"/" + name for name in (b"caf\xe9.png", b"a\nb.png", b'say "x", y.png')]
    for name in odd:
        shutil.copy(album / "1.jpg", name)
    for form in ("json", "csv", "table"):
        with (tmp_path / "out").open("w") as out:
            monkeypatch.setattr(sys, "stdout", out)
            predict.main([os.fsdecode(name) for name in odd], exports, False, form, 3, None)
        data = (tmp_path / "out").read_bytes()
        if form == "json":
            assert [os.fsencode(entry["path"]) for entry in json.loads(data)] == odd
        elif form == "csv":
            rows = list(csv.DictReader(io.StringIO(data.decode(errors="surrogateescape"), newline="")))
            assert [os.fsencode(row["path"]) for row in rows] == odd
        else:
            assert len(data.splitlines()) == 4


def test_progress_of_many_stays_off_standard_output(command, pictures):
    code, out, err = command(pictures[0].parents[1], form="json")
    assert code == 0
    assert sorted(entry["path"] for entry in json.loads(out)) == sorted(map(str, pictures))
    assert f"predicting: {len(pictures)} pictures in " in err


def many(exports, pictures, times):
    """A process with more output than fits into a pipe."""
    program = [sys.executable, "-m", "darkroom", "predict", "--model", exports, "--format", "csv"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    folder = pictures[0].parents[1]
    return subprocess.Popen([*program, *[folder] * times], cwd=ROOT, text=True, preexec_fn=interruptible, **pipes)


def test_a_reader_that_leaves_is_no_error(exports, pictures):
    process = many(exports, pictures, 4)
    assert process.stdout.readline().startswith("path,label,probability,")
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (141, "")
    process.stderr.close()


def test_rows_are_written_at_once_and_ctrl_c_ends_the_process(exports, pictures):
    process = many(exports, pictures, 8)
    lines = [process.stdout.readline() for _ in range(3)]
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert 3 <= len(lines + rest.splitlines()) < 8 * len(pictures)


PROGRAM = """
import sys
from pathlib import Path
from darkroom.commands.predict import command
command.main([sys.argv[1]], Path(sys.argv[2]), "json", 3, None)
print({"tensorflow", "keras"} & set(sys.modules), file=sys.stderr)
"""


def test_a_folder_means_its_quickest_export_which_needs_no_tensorflow(command, exports, album):
    """The import of TensorFlow would take seconds."""
    done = run("python", "-c", PROGRAM, str(album / "1.jpg"), str(exports), cwd=ROOT)
    assert done.stderr == "set()\n"
    results = {}
    for model in (exports, exports / "model.onnx", exports / "saved_model"):
        code, out, _ = command(album / "1.jpg", model=model, form="json")
        assert code == 0
        results[model.name] = json.loads(out)
    assert json.loads(done.stdout) == results["model.onnx"] == results[exports.name]
    assert results["saved_model"][0]["label"] == results["model.onnx"][0]["label"]
    assert results["saved_model"][0]["probability"] == pytest.approx(results["model.onnx"][0]["probability"], abs=1e-5)
