"""What the tests of several commands share: a small exported model, made once, and labels to review."""

from pathlib import Path

import pytest

from darkroom.commands.review.desk import Desk
from darkroom.core.paths import DECISIONS
from tests.helpers.once import made_once
from tests.helpers.pictures import CLASSES
from tests.helpers.review import report


@pytest.fixture(scope="session")
def small_model(fashion, tensorflow, tmp_path_factory):
    """A folder with a model that is right about most bags, coats and sandals, and its exports in three formats."""

    def make(folder):
        from darkroom.export.conversion import Conversion
        from darkroom.inference.formats import FORMATS
        from tests.helpers.small_model import trained

        model = trained(fashion / "train")
        model.save(folder / "models")
        (folder / "exports").mkdir()
        conversion = Conversion(model.whole(), CLASSES)
        for name in ("onnx", "litert", "saved_model"):
            conversion.write(FORMATS[name], folder / "exports")

    return made_once(tmp_path_factory, "small_model", make)


@pytest.fixture
def names(tuning):
    """The pictures of a project, two of which have a suspicious label."""
    listed = sorted(path.relative_to(tuning / "data/split").as_posix() for path in tuning.glob("data/split/*/*/*.png"))
    return report(tuning, {listed[60]: "Bag", listed[61]: "Sandal"})


@pytest.fixture
def desk(names):
    """What Ada reviews."""
    return Desk(DECISIONS, Path("data/unlabelled"), "Ada", 1)
