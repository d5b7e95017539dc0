"""A small exported model, made once for all tests of the commands."""

import pytest

from tests.helpers.once import made_once
from tests.helpers.pictures import CLASSES


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
