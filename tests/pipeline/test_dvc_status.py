"""What DVC would run, told before it does."""

import pytest

from darkroom.core.errors import UserError
from darkroom.pipeline.dvc_status import outdated


def test_the_stages_that_would_run_are_told_before(cheap_copy, monkeypatch):
    monkeypatch.chdir(cheap_copy)
    assert outdated() == []
    text = (cheap_copy / "params.yaml").read_text()
    (cheap_copy / "params.yaml").write_text(text.replace("target: max", "target: none"))
    assert outdated() == ["augment", "extract", "train", "evaluate", "export"]
    (cheap_copy / "params.yaml").write_text(text)
    (cheap_copy / "data/incoming/Coat/4.png").unlink()
    assert outdated()[0] == "download"
    (cheap_copy / "dvc.yaml").write_text("stages: {download: {}}\n")
    with pytest.raises(UserError, match="DVC cannot tell what has changed"):
        outdated()
