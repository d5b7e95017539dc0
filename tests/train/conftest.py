"""Features of small sets, made once for all tests of a module."""

import shutil

import pytest

from tests.helpers.pictures import CLASSES
from tests.helpers.project import ROOT
from tests.helpers.training import extracted, small_features


@pytest.fixture(scope="module")
def features(project):
    """Training and validation features of the small project, and its class names."""
    return small_features(project)


@pytest.fixture(scope="module")
def split(tmp_path_factory, fashion):
    """A split project: 30 pictures of each of three classes in train, 10 in val and in test."""
    folder = tmp_path_factory.mktemp("split")
    shutil.copy(ROOT / "params.yaml", folder)
    for label in CLASSES:
        files = sorted((fashion / "train" / label).iterdir())
        for part, chosen in (("train", files[:30]), ("val", files[30:40]), ("test", files[40:50])):
            (folder / "data/split" / part / label).mkdir(parents=True)
            for path in chosen:
                shutil.copy(path, folder / "data/split" / part / label)
    (folder / "data/augmented").mkdir()
    (folder / "data/augmented/.left_out.csv").write_text("picture\n")
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/augment.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def with_features(split, tensorflow):
    """The split project with features of VGG16's block3_pool; `(folder, backbone)`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(split)
        return split, extracted()


@pytest.fixture
def vgg16(with_features, tmp_path, monkeypatch):
    """A copy of the split project with features, as the current folder; its backbone."""
    folder, backbone = with_features
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return backbone
