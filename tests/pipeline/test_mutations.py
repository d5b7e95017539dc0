"""The small faults that `make mutations` puts into the code."""

import pytest

from tests.helpers.project import ROOT
from tests.mutations import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.fault)
def test_the_place_of_each_fault_is_in_the_code_once(mutation):
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    for path in mutation.tests.partition(" -")[0].split():
        assert (ROOT / path).exists()
