"""Predictions: which files, in which order, what is written where, and that batches change nothing."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darkroom.commands.predict import command as predict
from darkroom.commands.predict import output
from darkroom.core.errors import UserError
from darkroom.export.conversion import Conversion
from darkroom.images.decode import decode
from darkroom.inference import formats, predictor
from darkroom.inference.formats import Exported
from tests.helpers.pictures import CLASSES, save
from tests.helpers.project import ROOT, interruptible, run
from tests.helpers.small_model import trained


@pytest.fixture(scope="module")
def exports(fashion, tmp_path_factory):
    """A folder with a small model in three formats."""
    folder = tmp_path_factory.mktemp("exports")
    conversion = Conversion(trained(fashion[0] / "train").whole(), CLASSES)
    for kind in ("onnx", "litert", "saved_model"):
        conversion.write(kind, folder)
    return folder


@pytest.fixture
def album(tmp_path, fashion):
    """Real pictures of several sizes and kinds, and what a folder has besides them."""
    chosen = [path for label in CLASSES for path in sorted((fashion[0] / "test" / label).iterdir())[:4]]
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


def command(exports, *arguments, check=False, **more):
    return run("python", "-m", "stages.predict", "--model", str(exports), *map(str, arguments), cwd=ROOT, check=check)


@pytest.mark.parametrize("kind", ["onnx", "litert", "saved_model"])
def test_batches_change_nothing(exports, album, pictures, kind):
    exported = formats.load(exports / formats.FILES[kind])
    known = [path for path in pictures if path.parent.name in CLASSES][::2]
    paths = [*known, *(path for path, _ in predict.find([str(album)])), pictures[0], album / "notes.txt"]
    found = list(predictor.classify(exported, paths))
    assert [path for path, _ in found] == paths
    for path, result in found:
        if path.name in ("4.png", "notes.txt"):
            assert isinstance(result, UserError)
        else:
            assert np.abs(result - exported.probabilities(decode(path)[None])[0]).max() <= 1e-6
    right = [exported.classes[result.argmax()] == path.parent.name for path, result in found[: len(known)]]
    assert sum(right) > 0.9 * len(known) > 70


def encoded(height, width, shade):
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PICTURE = st.one_of(st.just(b"no picture"), st.builds(encoded, *[st.sampled_from([2, 5, 30])] * 2, st.integers(0, 255)))


@settings(deadline=None)
@given(st.lists(PICTURE, max_size=40))
def test_any_mixture_comes_out_in_order(sources):
    """Sizes are mixed, some cannot be read; batches and what is held stay within bounds, here small ones."""
    batches, given_back = [], 0
    ahead = 10 + 2 * predictor.THREADS + 1

    class Counted(list):
        def __iter__(self):
            for number, source in enumerate(super().__iter__()):
                assert number - given_back <= ahead
                yield source

    def probabilities(pixels):
        batches.append(pixels.shape)
        return pixels.mean(axis=(1, 2))

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"BATCH": 4, "BATCH_PIXELS": 1000, "WAITING": 10, "WAITING_PIXELS": 3000, "HIGH": 1}.items():
            patch.setattr(predictor, name, value)
        for source, result in predictor.classify(Exported(["r", "g", "b"], probabilities), Counted(sources)):
            assert source == sources[given_back]
            given_back += 1
            if source == b"no picture":
                assert str(result) == "not a picture of a known format"
            else:
                assert (result == decode(source)[0, 0]).all()
    assert given_back == len(sources)
    assert sum(shape[0] for shape in batches) == len([source for source in sources if source != b"no picture"])
    assert all(count <= 4 and (count == 1 or count * height * width <= 1000) for count, height, width, _ in batches)


def test_equal_sizes_share_a_batch():
    """Sizes alternate, and still the model is asked eight times, not 256 times."""
    batches = []

    def probabilities(pixels):
        batches.append(len(pixels))
        return pixels.mean(axis=(1, 2))

    sources = [encoded(8, 8 + number % 2, number) for number in range(256)]
    assert len(list(predictor.classify(Exported(["r", "g", "b"], probabilities), sources))) == 256
    assert batches == [32] * 8


def test_a_picture_that_is_too_large_is_named(tmp_path):
    Image.new("1", (10_001, 10_000)).save(tmp_path / "large.png")
    ((_, error),) = predictor.classify(Exported(["a"], lambda pixels: pixels), [tmp_path / "large.png"])
    assert str(error) == "10,001 x 10,000 pixels are more than the largest picture may have"


def test_long_and_low_pictures_take_little_memory(tmp_path):
    """What resizing needs grows with each side, however few the pixels are."""
    sources = []
    for size in [(65_535, 1)] * 20 + [(1, 65_536)]:
        sources.append(tmp_path / f"{len(sources)}.png")
        Image.new("1", size).save(sources[-1])
    batches = []
    exported = Exported(["a"], lambda pixels: batches.append(len(pixels)) or np.ones((len(pixels), 1), np.float32))
    *results, (_, error) = predictor.classify(exported, sources)
    assert str(error) == "1 x 65,536 pixels: the longer side may have 65,535"
    assert [result.tolist() for _, result in results] == [[1]] * 20
    assert batches == [1] * 20


def test_what_is_too_much_for_the_model_does_not_stop_the_rest():
    def probabilities(pixels):
        if len(pixels) > 1 or pixels.max() > 200:
            raise MemoryError(f"no room\nfor {len(pixels)}")
        return pixels.mean(axis=(1, 2))

    sources = [encoded(8, 8, shade) for shade in (10, 20, 255, 30)]
    results = [result for _, result in predictor.classify(Exported(["r", "g", "b"], probabilities), sources)]
    assert str(results.pop(2)) == "the model cannot take it (no room for 1)"
    assert [result[0] for result in results] == [10, 20, 30]


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
    """Root may look into everything: be another user meanwhile."""
    user = os.geteuid()
    os.seteuid(user or 65_534)
    yield
    os.seteuid(user)


@pytest.fixture
def closed(album, tmp_path, monkeypatch):
    """A subfolder that nobody may look into, and a link into one."""
    (album / "more/locked/inside").mkdir(parents=True)
    (album / "link.png").symlink_to(album / "more/locked/inside")
    (album / "more/again").symlink_to(album)
    (album / "more/locked").chmod(0)
    monkeypatch.chdir(album)
    yield
    (album / "more/locked").chmod(0o700)


@pytest.mark.usefixtures("closed", "somebody")
def test_a_folder_that_cannot_be_looked_into_is_named():
    found = predict.find(["."])
    assert [str(path) for path, _ in found] == [*NAMES, "link.png", "more/3.png", "more/22.PNG", "more/locked"]
    assert {str(path): str(error) for path, error in found if error} == {
        "more/locked": "cannot be looked into (Permission denied)"
    }


def test_names_of_classes_do_nothing_to_a_terminal():
    said = [output.Answer(Path("x.png"), [("a\x1b[2Jb", 0.75), ("c\nd", 0.25)])]
    out = io.StringIO()
    assert output.write(said, "table", out, [Path("x.png")], ["a\x1b[2Jb", "c\nd"], 2) == 0
    assert out.getvalue() == "picture  label   probability  then\nx.png    a?[2Jb       0.7500  c?d 0.2500\n"


def test_exit_codes(exports, album):
    codes = {("1.jpg",): 0, ("1.jpg", "notes.txt"): 2, ("notes.txt", "4.png"): 1}
    for names, code in codes.items():
        assert command(exports, *(album / name for name in names)).returncode == code


def test_json_csv_and_table_say_the_same(exports, album):
    done = command(exports, album, album / "notes.txt", album / "nowhere", "--format", "json", "--top", 2)
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert [entry["path"] for entry in found] == [
        str(album / name) for name in (*NAMES, "more/3.png", "more/22.PNG", "notes.txt", "nowhere")
    ]
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"predict: {album}/4.png: cannot be decoded (")
    assert lines[1] == f"predict: {album}/notes.txt: not a picture of a known format"
    assert lines[2] == f"predict: {album}/nowhere: there is no such file or folder"
    exported = formats.load(exports / "model.onnx")
    for entry in found:
        if "error" in entry:
            assert set(entry) == {"path", "error"}
            assert f"predict: {entry['path']}: {entry['error']}" in lines
            continue
        expected = dict(zip(CLASSES, exported.probabilities(decode(album / entry["path"])[None])[0], strict=True))
        assert entry["label"] == max(expected, key=expected.get)
        assert entry["top"][0] == {"label": entry["label"], "probability": entry["probability"]}
        assert [one["label"] for one in entry["top"]] == sorted(CLASSES, key=expected.get, reverse=True)[:2]
        for one in entry["top"]:
            assert one["probability"] == pytest.approx(expected[one["label"]], abs=2e-6)

    done = command(exports, album, album / "notes.txt", album / "nowhere", "--format", "csv", "--top", 2)
    assert done.returncode == 2
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == [entry["path"] for entry in found]
    for row, entry in zip(rows, found, strict=True):
        assert row["error"] == entry.get("error", "")
        assert row["label"] == entry.get("label", "")
        if "top" in entry:
            assert (row["label_2"], float(row["probability_2"])) == tuple(entry["top"][1].values())

    done = command(exports, album / "1.jpg", album / "12.png", check=True)
    header, *table = done.stdout.splitlines()
    assert header.split() == ["picture", "label", "probability", "then"]
    by_path = {entry["path"]: entry for entry in found}
    for line, name in zip(table, ["1.jpg", "12.png"], strict=True):
        path, label, probability, *then = line.split()
        entry = by_path[str(album / name)]
        assert (path, label) == (entry["path"], entry["label"])
        assert float(probability) == pytest.approx(entry["probability"], abs=1e-4)
        assert len(then) == 4  # two more classes
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("model", "paths", "sentence"),
    [
        ("exports", ["nowhere.png"], "predict: nowhere.png: there is no such file or folder."),
        ("exports", ["a?b", "c"], "predict: a?b: there is no such file or folder; c: there is no such file or folder."),
        ("nowhere", ["README.md"], "predict: there is no model at nowhere: run `dvc repro`, which makes exports."),
    ],
)
def test_nothing_to_do_is_one_sentence(exports, model, paths, sentence):
    done = command(exports if model == "exports" else model, *paths)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


def test_odd_file_names(exports, album, tmp_path):
    """Bytes that are no UTF-8, a line break, a quote: JSON and CSV bring every path back as it was."""
    odd = [os.fsencode(tmp_path) + b"/" + name for name in (b"caf\xe9.png", b"a\nb.png", b'say "x", y.png')]
    for name in odd:
        shutil.copy(album / "1.jpg", name)
    given = [os.fsdecode(name) for name in odd]
    for form in ("json", "csv", "table"):
        with (tmp_path / "out").open("wb") as out:
            program = [sys.executable, "-m", "stages.predict", "--model", exports, "--format", form, *given]
            subprocess.run(program, cwd=ROOT, stdout=out, check=True)
        data = (tmp_path / "out").read_bytes()
        if form == "json":
            assert [os.fsencode(entry["path"]) for entry in json.loads(data)] == odd
        elif form == "csv":
            rows = list(csv.DictReader(io.StringIO(data.decode(errors="surrogateescape"), newline="")))
            assert [os.fsencode(row["path"]) for row in rows] == odd
        else:
            assert len(data.splitlines()) == 4


def many(exports, pictures, times, form, **pipes):
    program = [sys.executable, "-m", "stages.predict", "--model", exports, "--format", form]
    folder = pictures[0].parents[1]
    return subprocess.Popen([*program, *[folder] * times], cwd=ROOT, text=True, preexec_fn=interruptible, **pipes)


def test_progress_of_many_stays_off_standard_output(exports, pictures):
    process = many(exports, pictures, 1, "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert process.returncode == 0
    assert sorted(entry["path"] for entry in json.loads(out)) == sorted(map(str, pictures))
    assert f"predicting: {len(pictures)} pictures in " in err


def test_a_reader_that_leaves_is_no_error(exports, pictures):
    process = many(exports, pictures, 10, "csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline().startswith("path,label,probability,")
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (141, "")
    process.stderr.close()


def test_rows_come_as_they_are_known_and_ctrl_c_ends_it(exports, pictures):
    process = many(exports, pictures, 30, "csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = [process.stdout.readline() for _ in range(3)]
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert 3 <= len(lines + rest.splitlines()) < 30 * len(pictures)


PROGRAM = """
import sys
from pathlib import Path
from stages import predict
predict.main([sys.argv[1]], Path(sys.argv[2]), "json", 3, None)
print("tensorflow" in sys.modules, file=sys.stderr)
"""


def test_an_export_by_name_and_without_tensorflow(exports, album):
    """A folder of exports means the quickest; ONNX needs no TensorFlow, whose import costs seconds."""
    found = {}
    for model in (exports, exports / "model.onnx", exports / "saved_model"):
        done = run("python", "-c", PROGRAM, str(album / "1.jpg"), str(model), cwd=ROOT)
        assert done.stderr == f"{model.name == 'saved_model'}\n"
        found[model.name] = json.loads(done.stdout)
    assert found["model.onnx"] == found[exports.name]
    assert found["saved_model"][0]["label"] == found["model.onnx"][0]["label"]
    assert found["saved_model"][0]["probability"] == pytest.approx(found["model.onnx"][0]["probability"], abs=1e-5)
