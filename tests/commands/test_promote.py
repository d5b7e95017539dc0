"""A candidate becomes the champion where it is not worse on one validation set."""

import json
import pickle
import shutil

import mlflow
import numpy as np
import pytest

from darkroom.backbones import keras_apps, weights
from darkroom.commands.compare import predictions as compare
from darkroom.commands.promote import command as promote
from darkroom.commands.promote import validation
from darkroom.core.errors import UserError
from darkroom.core.metric_table import Estimate
from darkroom.core.model_spec import model_sha256
from darkroom.core.paths import EXPORTS, METRICS, MODELS, TRAIN_REPORT
from darkroom.evaluate.statistics import Paired
from darkroom.images.decode import decode
from darkroom.images.folders import listed
from darkroom.inference import formats
from darkroom.pipeline import params
from darkroom.tracking import pipeline_log, registry, store, tags
from stages import export
from tests.helpers import hostile
from tests.helpers.project import inside, set_params, without
from tests.helpers.tracking import change_json

NAME = "fashion"


@pytest.mark.parametrize(
    ("pair", "log_loss", "reason"),
    [
        (Paired(80, 5, 5, 10), Estimate(-0.01, -0.1, 0.08), None),
        (Paired(80, 5, 5, 10), Estimate(0, 0, 0), None),  # the same model again is not worse
        (Paired(1, 0, 0, 0), Estimate(-0.01), None),  # one picture
        (Paired(80, 5, 6, 9), Estimate(0.01, -0.1, 0.12), "the candidate's log loss on val is higher by 0.01"),
        (Paired(80, 9, 4, 7), Estimate(-0.01, -0.1, 0.08), None),  # 5 fewer of 100 may be chance (p = 0.27)
        (
            Paired(80, 9, 1, 10),
            Estimate(-0.01, -0.1, 0.08),
            "the candidate's accuracy on val is lower by 0.0800 (p = 0.021)",
        ),
        (Paired(80, 1, 9, 10), Estimate(-0.01, -0.1, 0.08), None),  # better by more than chance
    ],
)
def test_the_rule(pair, log_loss, reason):
    assert promote.worse(pair, log_loss) == reason


@pytest.fixture(scope="module")
def registered(project, tmp_path_factory):
    """A project with three registered versions: as it was trained, far from calibrated, and with other class names."""
    folder = tmp_path_factory.mktemp("registered") / "project"
    with inside(project, folder, without(project, ".cache", ".dvc/cache", "data/raw")):
        set_params(folder, {"export.register": NAME, "export.formats": ["onnx"], "export.check_pictures": 1})
        sections, spec = params.current(), json.loads((folder / "models/model.json").read_text())
        for change in ({}, {"temperature": 10.0}, {"classes": [f"{name}s" for name in spec["classes"]]}):
            if change:
                (folder / "models/model.json").write_text(json.dumps(spec | change))
                for report in (TRAIN_REPORT, METRICS):
                    change_json(report, model_sha256=model_sha256(MODELS))
                pipeline_log.log_evaluation()
            export.main(sections.base, sections.export)
    return folder


@pytest.fixture
def aliases(registered, monkeypatch):
    """In that project: sets which version is the champion, if any, and which the candidate; gives the client."""
    monkeypatch.chdir(registered)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = mlflow.MlflowClient(f"sqlite:///{registered / 'mlflow.db'}")

    def set_aliases(champion, candidate):
        for alias, number in ((registry.CHAMPION, champion), (registry.CANDIDATE, candidate)):
            client.delete_registered_model_alias(NAME, alias)
            if number:
                client.set_registered_model_alias(NAME, alias, str(number))
        return lambda: str(client.get_registered_model(NAME).aliases[registry.CHAMPION])

    yield set_aliases
    mlflow.set_tracking_uri(None)


def test_the_first_candidate_becomes_the_champion(aliases, capsys):
    """The expected accuracy is that of the exported float32 model: metrics.json may come from bfloat16 features."""
    champion = aliases(None, 1)
    promote.main(NAME, anyway=False)
    assert champion() == "1"
    output, pictures = capsys.readouterr().out, listed("val")
    exported = formats.load(EXPORTS / "model.onnx")  # version 3, which differs from 1 in the names of its classes
    rows = [exported.probabilities(decode(picture.path)[None])[0] for picture in pictures]
    right = [exported.classes[row.argmax()] == f"{picture.label}s" for row, picture in zip(rows, pictures, strict=True)]
    assert f"Validation, {len(pictures)} pictures of data/split/val:" in output
    assert f"candidate  version  1  accuracy {np.mean(right):.4f}, 95 % interval" in output
    promote.main(NAME, anyway=False)
    assert "version 1 of fashion is both candidate and champion already" in capsys.readouterr().out


def test_a_better_one_takes_its_place_and_both_tests_are_shown(aliases, capsys):
    champion = aliases(2, 1)
    promote.main(NAME, anyway=False)
    assert champion() == "1"
    parts = capsys.readouterr().out.split("Test, for information only:")
    for part in parts:
        assert "champion   version  2  accuracy 0." in part
        assert "candidate  version  1  accuracy 0." in part
    assert "candidate - champion   accuracy" in parts[0]
    assert "McNemar's p = " in parts[0]
    assert "log loss -" in parts[0]
    assert "another split" not in parts[0]
    assert "test sets differ" not in parts[1]


def test_a_worse_one_does_not_but_by_force(aliases, capsys):
    champion = aliases(1, 2)
    with pytest.raises(UserError, match=r"^the candidate's log loss on val is higher by ") as raised:
        promote.main(NAME, anyway=False)
    assert str(raised.value).endswith("nothing is changed; --anyway makes version 2 the champion.")
    assert champion() == "1"
    promote.main(NAME, anyway=True)
    assert champion() == "2"
    assert "Promoted anyway" in capsys.readouterr().out


def test_other_classes_cannot_be_compared(aliases):
    champion = aliases(1, 3)
    with pytest.raises(UserError, match=r"version 3 of fashion has the classes .*Bags.* pictures of .*Bag.*--anyway"):
        promote.main(NAME, anyway=False)
    assert champion() == "1"


@pytest.fixture
def of_another_split(registered):
    """Makes a version's run one of another split, as long as the test takes."""
    client = mlflow.MlflowClient(f"sqlite:///{registered / 'mlflow.db'}")
    before = {}

    def change(number):
        run_id = client.get_model_version(NAME, str(number)).run_id
        run_id = registry.training_run_of(client.get_run(run_id)).info.run_id
        before[run_id] = client.get_run(run_id).data.tags[tags.SPLIT_MD5]
        client.set_tag(run_id, tags.SPLIT_MD5, "another")

    yield change
    for run_id, value in before.items():
        client.set_tag(run_id, tags.SPLIT_MD5, value)


def test_a_champion_of_another_split_is_named(aliases, of_another_split, capsys):
    champion = aliases(2, 1)
    of_another_split(2)
    promote.main(NAME, anyway=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "another split" in line]
    assert line.split("  ")[1] == "champion"
    assert champion() == "1"


@pytest.mark.parametrize("other", [None, 2])
def test_a_candidate_of_another_split_is_refused_but_by_force(aliases, of_another_split, capsys, other):
    """It may have seen the pictures on which it is better."""
    champion = aliases(other, 1)
    of_another_split(1)
    with pytest.raises(UserError, match=r"the candidate was trained on another split .*--anyway makes"):
        promote.main(NAME, anyway=False)
    assert "candidate  version  1  accuracy 0." in capsys.readouterr().out
    promote.main(NAME, anyway=True)
    assert champion() == "1"


@pytest.mark.parametrize(
    ("name", "candidate", "sentence"),
    [
        ("nobody", 1, "no model is registered as nobody in MLflow at sqlite:.*: set export.register"),
        (NAME, None, "fashion has no version with the alias candidate"),
    ],
)
def test_what_is_missing_is_said(aliases, name, candidate, sentence):
    aliases(1, candidate)
    with pytest.raises(UserError, match=sentence):
        promote.main(name, anyway=False)


def test_a_version_without_an_evaluation_is_never_promoted(aliases, registered):
    client = mlflow.MlflowClient(f"sqlite:///{registered / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("darkroom").experiment_id
    run = client.create_run(experiment, tags={tags.KIND: tags.TRAINING})
    version = client.create_model_version(NAME, client.get_model_version(NAME, "1").source, run.info.run_id).version
    champion = aliases(1, int(version))
    for anyway in (False, True):
        with pytest.raises(UserError, match=f"version {version} of fashion has no evaluation in MLflow"):
            promote.main(NAME, anyway)
    assert champion() == "1"
    client.delete_registered_model_alias(NAME, registry.CANDIDATE)
    client.delete_model_version(NAME, version)


@pytest.fixture
def hostile_version(registered, tmp_path):
    """Version 1 with code in all its files that MLflow would run, as long as the test takes; and the marker."""
    model = mlflow.MlflowClient(f"sqlite:///{registered / 'mlflow.db'}").get_model_version(NAME, "1").source
    (folder,) = (registered / "mlartifacts").rglob(f"{model.rpartition('/')[2]}/artifacts")
    marker = tmp_path / "marker"
    shutil.copytree(folder, tmp_path / "kept")
    hostile.spoil_registered(folder, marker)
    yield marker
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)


def test_no_code_of_a_registered_version_is_run(aliases, hostile_version, capsys):
    """Neither by promote nor by compare nor by extract.weights; by MLflow's own loader it is."""
    champion = aliases(2, 1)
    promote.main(NAME, anyway=False)
    assert champion() == "1"
    compare.read(f"models:/{NAME}/1")
    backbone = keras_apps.network("VGG16", (32, 32))
    weights.load(backbone, "VGG16", f"models:/{NAME}/1", store.download)
    assert not hostile_version.exists()
    with pytest.raises(SystemExit):
        mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    assert hostile_version.exists()


def test_a_saved_model_of_the_registry_is_not_opened(registered, tmp_path, aliases, tensorflow):
    """The trained model beside it, which is data, gives the same probabilities."""
    folder, marker = tmp_path / "artifacts", tmp_path / "marker"
    shutil.copytree(registered / "models", folder / "models")
    (folder / "exports").mkdir()
    hostile.saved_model_that_writes_when_opened(folder / "exports", marker)
    exported = validation.load(folder)
    assert not marker.exists()
    of_onnx = formats.load(registered / "exports/model.onnx")
    pixels = decode(listed("val")[0].path)[None]
    assert exported.classes == of_onnx.classes
    np.testing.assert_allclose(exported.probabilities(pixels), of_onnx.probabilities(pixels), atol=1e-5)
    (folder / "models/model.json").write_bytes(pickle.dumps(hostile.Pickled(marker)))
    with pytest.raises(UserError, match="its model cannot be loaded"):
        validation.load(folder)
    assert not marker.exists()
