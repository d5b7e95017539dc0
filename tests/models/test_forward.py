import keras
import numpy as np
import pytest

from darkroom.models import forward
from darkroom.models.inputs import Inputs

pytestmark = pytest.mark.usefixtures("tensorflow")


class Counting(Inputs):
    """Rows that count how many were read at a time."""

    def __init__(self, array):
        super().__init__([""] * len(array), [""] * len(array))
        self.array, self.read = array, []

    def rows(self, selection=slice(None)):
        self.read.append(len(self.array[selection]))
        return self.array[selection]


@pytest.mark.parametrize(("width", "largest"), [(3, 512), (2**15, 128), (2**19, 16)])
def test_a_model_runs_on_chunks_of_rows_that_fit_into_memory(width, largest):
    rows = Counting(np.broadcast_to(np.arange(520, dtype=np.float32)[:, None], (520, width)))
    x = keras.Input((width,))
    model = keras.Model(x, keras.layers.Dropout(0.5)(x[:, :2]))  # no dropout in inference
    assert (forward.run(model, rows) == rows.array[:, :2]).all()
    assert max(rows.read) == largest
    assert sum(rows.read) == 520
