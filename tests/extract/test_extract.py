"""The stage `extract`, on real pictures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from darkroom.core.errors import UserError
from darkroom.core.params import Base
from darkroom.extract import fill
from darkroom.extract.params import Params
from darkroom.images.decode import decode
from darkroom.models.inputs import Features
from stages import extract
from tests.helpers.backbones import vgg16
from tests.helpers.project import ROOT

pytestmark = pytest.mark.usefixtures("tensorflow")

SMALL = {"image_size": [32, 32], "layers": ["block2_pool"], "pooling": "flatten", "precision": "float32"}


def run(seed=1, **changes):
    """Run the stage in the current folder; its report."""
    extract.main(Base(seed=seed), Params(**{**SMALL, **changes}))
    return json.loads(extract.EXTRACT_REPORT.read_text())


@pytest.fixture
def split(workspace, fashion):
    """A split project: 40 pictures in train, 20 in val and in test, two new ones that augment made."""
    for label in ("Bag", "Coat"):
        files = sorted((fashion / "train" / label).iterdir())
        parts = (("split/train", files[:20]), ("split/val", files[20:30]), ("split/test", files[30:40]))
        for part, chosen in (*parts, ("augmented", files[40:41])):
            (workspace / "data" / part / label).mkdir(parents=True)
            for path in chosen:
                shutil.copy(path, workspace / "data" / part / label)
    (workspace / "data/augmented/.left_out.csv").write_text("picture\n")
    (workspace / "reports").mkdir(exist_ok=True)
    (workspace / "reports/augment.json").write_text("{}")
    return workspace


def test_rows_layers_and_labels_are_in_order(split):
    report = run(layers=["block1_pool", "block2_pool"])
    train = Features(split / "data/features", "train", ["block1_pool", "block2_pool"])
    assert train.rows().shape == (42, 16 * 16 * 64 + 8 * 8 * 128)
    assert train.labels == ["Bag"] * 20 + ["Coat"] * 20 + ["Bag", "Coat"]
    assert train.paths[-1].startswith("data/augmented/Coat/")
    assert len(Features(split / "data/features", "val", ["block1_pool"])) == 20
    assert report["features"] == 16 * 16 * 64 + 8 * 8 * 128
    pixels = decode(split / train.paths[33])[None].astype(np.float32)
    expected = vgg16((32, 32), ["block1_pool"], "flatten")(pixels)["block1_pool"].numpy()
    assert np.abs(train.rows(np.array([33]))[:, : 16 * 16 * 64] - expected).max() < 1e-2


def test_a_picture_goes_through_a_network_once(split, monkeypatch):
    """Unless the size, or the code that computes its features, has changed."""
    forwarded, features = [], fill.features
    monkeypatch.setattr(
        fill, "features", lambda model, paths, *rest: forwarded.append(len(paths)) or features(model, paths, *rest)
    )
    run()
    first = (split / "data/features/train.block2_pool.npy").read_bytes()
    twin = split / "data/split/train/Bag/zz_twin.png"
    shutil.copy(min((split / "data/split/test/Bag").iterdir()), twin)
    run()
    run(image_size=[40, 40])
    twin.unlink()
    run()
    assert (split / "data/features/train.block2_pool.npy").read_bytes() == first
    monkeypatch.setattr(extract, "code_digest", lambda room: "other code")
    run()
    assert forwarded == [82, 82, 82]
    assert (split / "data/features/train.block2_pool.npy").read_bytes() == first


def test_no_backbone_is_an_empty_output(split):
    assert run(backbone=None) == {"backbone": None}
    assert not list((split / "data/features").glob("*.npy"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"backbone": "VGG61"}, "extract.backbone VGG61 is not in keras.applications: choose one of ConvNeXtBase, "),
        ({"layers": ["block9_pool"]}, "VGG16 has no layer block9_pool; it has block1_conv1, block1_conv2, block1_pool"),
        ({"image_size": [8, 8]}, r"extract.image_size \[8, 8\] does not suit VGG16"),
    ],
)
def test_wrong_settings_are_named(split, change, sentence):
    with pytest.raises(UserError, match=sentence):
        run(**change)
    assert not (split / "data/features").exists()


def test_the_report_says_that_other_machines_rounded_differently(split, monkeypatch):
    expected = run()["precision_reason"]
    monkeypatch.setattr(extract, "unlike_cpus", lambda: True)
    assert run()["precision_reason"] == f"{expected}; some machines of the cluster round differently"


def test_random_weights_follow_the_seed(split):
    random = {"backbone": "MobileNetV2", "weights": "random", "layers": ["block_3_expand_relu"]}
    digests = [run(seed, **random)["weights_sha256"] for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.full
def test_a_killed_extraction_resumes_and_ends_the_same(split, fashion, capsys):
    """SIGKILL once the first features are cached: the next run computes the rest, and the bytes are the same."""
    shutil.copytree(fashion / "test", split / "data/split/test", dirs_exist_ok=True)
    content = yaml.safe_load((split / "params.yaml").read_text())
    content["extract"] |= {**SMALL, "pooling": "avg"}
    (split / "params.yaml").write_text(yaml.safe_dump(content))
    command, environment = [sys.executable, "-m", "stages.extract"], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=split, env=environment, stdout=subprocess.DEVNULL) as process:
        while not list(split.glob(".cache/features/*/*.npz")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (split / "data/features").exists()
    cached = len(list(split.glob(".cache/features/*/*.npz")))

    def outputs():
        run(pooling="avg")
        return {path.name: path.read_bytes() for path in (split / "data/features").iterdir()}

    capsys.readouterr()
    resumed = outputs()
    total = len({path.read_bytes() for path in (split / "data").rglob("*.png")})
    assert f"extract: {total - cached * fill.CHUNK:,} pictures in" in capsys.readouterr().out
    shutil.rmtree(split / ".cache")
    assert resumed == outputs()


def test_what_is_measured_is_computed_as_exports_compute(split):
    """Reduced precision is for train alone, and each part comes from the cache the next time."""
    folder = split / "data/features"
    run(precision="float32")
    exact = {part: np.load(folder / f"{part}.block2_pool.npy") for part in ("train", "val", "test")}
    for _ in range(2):
        report = run(precision="mixed_bfloat16")
        assert (report["precision"], report["precision_reason"]) == ("mixed_bfloat16", "set in params.yaml")
        for part in ("val", "test"):
            assert (np.load(folder / f"{part}.block2_pool.npy") == exact[part]).all()
        train = np.load(folder / "train.block2_pool.npy")
        assert train.dtype == np.float16
        assert not (train == exact["train"]).all()
        assert np.linalg.norm(train - exact["train"]) < 0.02 * np.linalg.norm(exact["train"])


def test_mirrored_features_are_the_mean_over_both_images(split):
    """Pooled, so that it does not matter which of the two the file holds."""
    plain, mirrored = ({}, {})
    for rows, changes in ((plain, {}), (mirrored, {"mirror": True})):
        run(pooling="avg", layers=["block3_pool"], **changes)
        features = Features(split / "data/features", "train", ["block3_pool"])
        rows.update(zip(features.paths, features.rows(), strict=True))
    extractor = vgg16((32, 32), ["block3_pool"], "avg")
    for path in list(plain)[::7]:
        pixels = decode(split / path)[None].astype(np.float32)
        other = extractor(pixels[:, :, ::-1])["block3_pool"].numpy()[0]
        assert mirrored[path] == pytest.approx((plain[path] + other) / 2, abs=1e-2)
        assert np.abs(plain[path] - other).max() > 0.1
