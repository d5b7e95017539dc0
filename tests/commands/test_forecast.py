"""The forecast of a run: numbers of pictures, measurements by the code of the stages, and what they add up to."""

import io
import itertools
import json
import os
import shutil
import signal
import struct
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.commands.forecast import command, contents, rehearsal, text, training
from darkroom.commands.forecast.contents import Contents, Sampler
from darkroom.commands.forecast.costs import Stage, forecast
from darkroom.commands.forecast.rehearsal import Rates
from darkroom.commands.forecast.workload import Workload, workload
from darkroom.core.errors import UserError
from darkroom.download import tfds_mirror
from darkroom.download.sources.base import SourceFile
from darkroom.images.folders import PARTS
from darkroom.pipeline import params
from darkroom.split.methods import METHODS, Task
from tests.helpers.pictures import photograph

SMALL = {
    "download": {"source": "folder", "limit_per_class": None},
    "augment": {"target": "none"},
    "extract": {"weights": "random", "image_size": [32, 32], "layers": ["block1_pool"], "pooling": "avg"},
}


def sections(**changes):
    return params.check({**SMALL, **changes})


@pytest.fixture
def sample(tmp_path):
    return [SourceFile("train", "cat", f"{number}.jpg", np.asarray(photograph(number, 40, 50))) for number in range(4)]


SPLITS = st.one_of(
    st.fixed_dictionaries(
        {"method": st.just("ratio"), "ratio": st.sampled_from([[0.7, 0.1, 0.2], [0.6, 0.15, 0.25], [0.9, 0.1, 0.0]])}
    ),
    st.fixed_dictionaries({"method": st.just("fixed"), "fixed": st.sampled_from([[1, 2], [3, 3]])}),
    st.fixed_dictionaries({"method": st.just("kfold"), "folds": st.integers(2, 6)}),
    st.fixed_dictionaries({"method": st.just("ordered"), "fixed": st.sampled_from([None, [4, 6]])}),
)


@given(st.lists(st.integers(20, 60), min_size=2, max_size=4), SPLITS, st.sampled_from([[], ["test"], ["val", "test"]]))
def test_pictures_are_divided_as_the_stage_divides_them(numbers, split, official):
    settings = sections(split=split)
    counts = {
        str(label): Counter(train=count) | Counter(dict.fromkeys(official, 7)) for label, count in enumerate(numbers)
    }
    free = dict(zip(PARTS, settings.split.ratio, strict=True))
    shares = {part: share for part, share in free.items() if part not in official}
    shares = {part: share / sum(shares.values()) for part, share in shares.items()}
    names = [f"train/{label}/{row}.png" for label, count in enumerate(numbers) for row in range(count)]
    divided = Counter(METHODS[settings.split.method](Task(names, {}, [], shares, settings.split, 1)).values())
    work = workload(counts, settings)
    for part in PARTS:
        expected = divided[part] + (7 * len(numbers) if part in official else 0)
        assert getattr(work, part) == pytest.approx(expected, abs=2 * len(numbers))
    assert work.found == sum(numbers) + 7 * len(official) * len(numbers)
    assert work.kept == pytest.approx(work.found, abs=2)


def test_classes_are_limited_and_augmented_as_the_stages_do():
    settings = sections(
        download={"source": "folder", "limit_per_class": 100},
        split={"ratio": [0.5, 0.25, 0.25]},
        augment={"target": "max"},
    )
    work = workload({"cat": Counter(train=200), "dog": Counter(train=40)}, settings)
    assert work == Workload(found=240, train=70, val=35, test=35, added=30, classes=2)
    settings = sections(augment={"target": 30, "undersample": True}, split={"ratio": [0.5, 0.25, 0.25]})
    work = workload({"cat": Counter(train=200), "dog": Counter(train=40)}, settings)
    assert (work.train, work.added, work.trained) == (50, 10, 60)


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"batch_size": 8}},
        {"train": {"head": {"type": "rbf_svm"}}},
        {
            "train": {"mode": "scratch", "batch_size": 8, "scratch": {"image_size": [16, 16]}},
            "extract": {"backbone": None},
        },
        {
            "train": {"mode": "fine_tune", "batch_size": 8, "fine_tune": {"unfreeze": 1, "batch_size": 8}},
            "extract": {"weights": "random", "image_size": [32, 32], "layers": ["block5_conv2"], "pooling": "flatten"},
        },
        {"augment": {"target": 30}},
    ],
    ids=["head", "classical", "scratch", "fine_tune", "augmented"],
)  # fmt: skip
def test_every_mode_is_measured_with_its_own_code(changes, sample, tmp_path, monkeypatch, tensorflow):
    contents.write_sample(sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = sections(**changes)
    work = workload({"cat": Counter(train=20), "dog": Counter(train=20)}, settings)
    rates = rehearsal.measure(settings, work)
    assert min(rates.speed, rates.check, rates.training, *rates.memory.values()) > 0
    assert bool(rates.exact) == (settings.extract.backbone is not None)
    assert bool(rates.predict) == (settings.train.mode != "head")
    assert rates.from_pixels == (settings.train.mode == "scratch")
    assert bool(rates.change) == bool(work.added)
    assert (rates.checkpoints > 4 * 1000) == settings.train.by_descent
    frozen = settings.train.mode == "head"
    assert rates.weights > rates.exported > 10_000 if frozen else rates.weights == rates.exported > 10_000


def test_bad_files_in_the_sample_are_left_out(sample, tmp_path, monkeypatch, tensorflow):
    """`download` drops them, so they must not end the run before it."""
    good = Path("good.jpg")
    Image.fromarray(sample[0].content).save(tmp_path / good)
    whole = (tmp_path / good).read_bytes()
    bad = [SourceFile("train", "cat", name, whole[:size]) for name, size in (("a.jpg", 0), ("b." + "x" * 240, 300))]
    contents.write_sample([*bad, *sample, *bad], tmp_path)
    monkeypatch.chdir(tmp_path)
    work = workload({"cat": Counter(train=20), "dog": Counter(train=20)}, sections())
    assert rehearsal.measure(sections(train={"head": {"type": "knn"}}), work).exact > 0
    for path in Path("sample").iterdir():
        path.write_bytes(whole[:300])
    with pytest.raises(
        UserError, match=r"^none of 8 pictures from the source can be used \(.+\): check download.path\.$"
    ):
        rehearsal.measure(sections(), work)


def test_nothing_is_shown_of_what_is_measured(sample, tmp_path, monkeypatch, tensorflow, capfd):
    """Also on a terminal, where progress is a bar on stderr."""
    contents.write_sample(sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    settings = sections(train={"head": {"type": "knn"}}, augment={"target": 30})
    rehearsal.measure(settings, workload({"cat": Counter(train=20), "dog": Counter(train=20)}, settings))
    assert capfd.readouterr() == ("", "")


def test_many_classes_need_no_picture_each(sample, tmp_path, monkeypatch, tensorflow):
    contents.write_sample(sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = sections(
        train={"mode": "scratch", "batch_size": 8, "scratch": {"image_size": [16, 16]}}, extract={"backbone": None}
    )
    rehearsal.measure(settings, Workload(9000, 6000, 1500, 1500, 0, 900))
    assert len(list(Path("data/split").glob("*/*/*"))) < 60


def killed(params, work):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_rehearsal_that_is_killed_ends_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "measure", killed)
    with pytest.raises(UserError, match="was killed, probably for lack of memory"):
        rehearsal.rehearse(sections(), Workload(1, 1, 0, 0, 0, 1), tmp_path)


def test_the_steps_of_all_epochs_are_counted(tmp_path, monkeypatch, tensorflow):
    """With a clock that ticks once an epoch, so that a step takes one `STEPS`-th."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.time, "perf_counter", itertools.count().__next__)
    settings = sections(train={"batch_size": 8, "epochs": 30})
    work = Workload(found=0, train=90, val=24, test=0, added=10, classes=2)
    measured = training.measure([], np.ones((4, 9), np.float32), settings, work)
    assert measured["training"] == pytest.approx(30 * (13 + training.FORWARD * 24 / 8) / training.STEPS)


def test_a_teacher_classifies_every_picture(small_model, sample, tmp_path, workspace):
    """That of the project, although the rehearsal is elsewhere; its predictions are part of the training."""
    folder = Path("data/weights/teacher")
    shutil.copytree(small_model / "models", folder)
    work = Workload(found=0, train=100_000, val=10, test=10, added=0, classes=2)
    seconds = {}
    for teacher in (None, str(folder)):
        place = tmp_path / str(teacher)
        contents.write_sample(sample, place)
        settings = sections(train={"teacher": teacher, "epochs": 1})
        seconds[teacher] = rehearsal.rehearse(settings, work, place).training
    assert seconds[str(folder)] > 2 * seconds[None]


RATES = Rates(check=0.01, reduced=0.5, exact=1.0, features=100, training=60.0, weights=1000,
              memory={"tensorflow": 10**9, "extract": 2 * 10**9, "train": 10**9})  # fmt: skip


def test_a_picture_more_costs_what_was_measured():
    work = Workload(found=100, train=60, val=20, test=20, added=0, classes=2)
    before, after = (
        {stage.name: stage for stage in forecast(sections(), each, 50_000, RATES)}
        for each in (work, work._replace(found=102, train=61, test=21))
    )
    assert after["extract"].seconds - before["extract"].seconds == pytest.approx(0.5 + 1.0, rel=1e-3)
    assert after["download"].disk - before["download"].disk == 2 * 2 * 50_000
    assert list(before) == list(params.STAGES)
    assert all(stage.seconds > 0 and stage.memory > 0 and stage.disk >= 0 for stage in before.values())
    slow = {stage.name: stage for stage in forecast(sections(), work, 50_000, RATES._replace(speed=0.5))}
    assert slow["split"].seconds == pytest.approx(2 * before["split"].seconds)


def test_an_export_computes_the_whole_model():
    """Also that of a fine-tuned one, which is trained and evaluated from the features of a frozen layer."""
    work = Workload(found=100, train=60, val=20, test=20, added=0, classes=2)
    settings = sections(export={"formats": ["onnx"], "check_pictures": 100})

    def export(**rates):
        return forecast(settings, work, 50_000, RATES._replace(**rates))[-1].seconds

    alone = export(exact=0.0)
    assert export() - alone == pytest.approx(2 * 100 * 1.0)
    assert export(predict=0.5) - alone == pytest.approx(2 * 100 * (1.0 + 0.5))
    assert export(predict=0.5, from_pixels=True) - alone == pytest.approx(2 * 100 * 0.5)


def test_too_little_memory_or_disk_is_named(monkeypatch):
    monkeypatch.setattr(text, "free_space", lambda folder: 10**6)
    shown = text.described([Stage("extract", 90.0, 10**14, 2 * 10**6)], sections(train={"patience": 3}))
    assert "in all   01:30" in shown
    assert "of memory are free: the run may end for lack of it." in shown
    assert "Only 1.0 MB of disk are free" in shown
    assert "may stop earlier" not in shown  # the training is not in it


def test_any_file_may_be_in_the_sample():
    files = [SourceFile("train", "cat", str(number), b"") for number in range(1000)]
    bad = SourceFile("train", "cat", "bad", UserError("no picture"))
    sampler = Sampler([bad, *files])
    assert list(sampler) == [bad, *files]
    places = [int(file.name) for file in sampler.sample]
    assert len(set(places)) == contents.FILES
    assert min(places) < 200
    assert max(places) > 800


def test_a_set_of_tensorflow_datasets_is_known_before_it_is_downloaded(tmp_path):
    settings = {"source": "tfds", "limit_per_class": None, "data_dir": str(tmp_path)}
    found = contents.of_source(sections(download=settings))
    assert sum(found.counts.values(), Counter()) == {"train": 60_000, "test": 10_000}
    few = contents.of_source(sections(download=settings | {"classes": ["Bag", "Coat"]}))
    assert sum(few.counts.values(), Counter()) == {"train": 12_000, "test": 2_000}
    assert contents.of_source(sections(download=settings | {"name": "flowers"})) is None
    prepared = tmp_path / "flowers/1.0.0"
    prepared.mkdir(parents=True)
    splits = [{"name": "all", "shardLengths": ["30", "10"], "numBytes": "400000"}]
    (prepared / "dataset_info.json").write_text(json.dumps({"splits": splits}))
    (prepared / "label.labels.txt").write_text("rose\ntulip\n")
    flowers = contents.of_source(sections(download=settings | {"name": "flowers"}))
    assert sum(flowers.counts.values(), Counter()) == {"train": 40}
    assert flowers.sample[0].content.shape == (200, 200, 3)
    for other in ([splits[0] | {"numBytes": "4000000000"}], [], [{"name": "all"}]):
        (prepared / "dataset_info.json").write_text(json.dumps({"splits": other}))
        found = contents.of_source(sections(download=settings | {"name": "flowers"}))
        assert found is None or found.sample[0].content.shape == (1024, 1024, 3)
    (prepared / "dataset_info.json").write_text("{")
    assert contents.of_source(sections(download=settings | {"name": "flowers"})) is None


@pytest.mark.parametrize("source", ["folder", "archive"])
def test_pictures_in_an_archive_are_at_hand_after_it_was_read(source, tmp_path, workspace, sample):
    Path("data/incoming").mkdir(parents=True)
    with zipfile.ZipFile("data/incoming/pictures.zip", "w") as archive:
        for label in ("cat", "dog"):
            for file in sample:
                stream = io.BytesIO()
                Image.fromarray(file.content).save(stream, "JPEG")
                archive.writestr(f"{label}/{file.name}", stream.getvalue())
    found = contents.of_source(sections(download={"source": source, "path": "data/incoming/pictures.zip"}))
    assert found.counts == {"cat": {"train": 4}, "dog": {"train": 4}}
    assert contents.write_sample(found.sample, tmp_path / "rehearsal") > 100
    assert len(list((tmp_path / "rehearsal/sample").iterdir())) == 8


@pytest.mark.parametrize("labels", [["cat"], []])
def test_what_download_will_refuse_is_left_to_it(labels, workspace, monkeypatch, capsys, sample):
    """A single class, or tables that name no picture."""
    found = Contents({label: Counter(train=9) for label in labels}, sample if labels else [])
    monkeypatch.setattr(command, "outdated", lambda: list(params.STAGES))
    monkeypatch.setattr(contents, "of_source", lambda _: found)
    command.main()
    assert "minutes" not in capsys.readouterr().out


@pytest.mark.parametrize("source", ["csv", "idx"])
def test_pictures_in_tables_of_pixels_are_counted(source, tmp_path, workspace):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 6), np.uint8)
    labels = np.arange(40, dtype=np.uint8) % 3
    if source == "csv":
        Path("pixels.csv").write_text(
            "".join(f"{label},{','.join(map(str, rows.ravel()))}\n" for label, rows in zip(labels, pixels, strict=True))
        )
    else:
        Path("idx").mkdir()
        Path("idx/train-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, 40, 8, 6) + pixels.tobytes())
        Path("idx/train-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, 40) + labels.tobytes())
    path = "pixels.csv" if source == "csv" else "idx"
    found = contents.of_source(sections(download={"source": source, "path": path, "csv": {"shape": [8, 6]}}))
    assert found.counts == {"0": {"train": 14}, "1": {"train": 13}, "2": {"train": 13}}
    assert contents.write_sample(found.sample, tmp_path / "rehearsal") > 40


def test_what_only_download_can_tell_is_not_forecast(monkeypatch, capsys):
    settings = sections(download={"source": "archive", "url": "https://127.0.0.1:1/x.tar"})
    assert contents.of_source(settings) is None
    monkeypatch.setattr(command, "outdated", lambda: list(params.STAGES))
    monkeypatch.setattr(params, "current", lambda: settings)
    command.main()
    assert capsys.readouterr().out.startswith(
        "No forecast: how many pictures https://127.0.0.1:1/x.tar has is known after"
    )
    assert set(tfds_mirror.SETS) == set(tfds_mirror.DEBIAN_PACKAGES)


def test_what_a_cluster_saves_is_left_out(workspace, monkeypatch, capsys, sample):
    settings = sections(compute={"engine": "ray", "address": "10.0.0.5:6379"})
    monkeypatch.setattr(command, "outdated", lambda: list(params.STAGES))
    monkeypatch.setattr(params, "current", lambda: settings)
    monkeypatch.setattr(
        contents, "of_source", lambda _: Contents({"a": Counter(train=9), "b": Counter(train=9)}, sample)
    )
    monkeypatch.setattr(command, "of_run", lambda *_: [])
    monkeypatch.setattr(command.text, "described", lambda *_: "")
    command.main()
    assert "The cluster at 10.0.0.5:6379 shares the work of download, augment and extract" in capsys.readouterr().out
