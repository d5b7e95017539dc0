"""The database of a sweep's trials."""

import pytest

from darkroom.commands.sweep import study


@pytest.mark.full
@pytest.mark.parametrize("content", [b"words", *(pytest.param(text, marks=pytest.mark.table) for text in (b"", None))])
def test_damaged_trials_are_set_aside(content, tmp_path, capsys):
    first = study.Sweep(tmp_path, ["dense"], 1)
    first.start(1)
    first.alive.release()
    database = tmp_path / "trials.db"
    if content is None:
        whole = database.read_bytes()
        database.write_bytes(whole[: len(whole) // 2])
    else:
        database.write_bytes(content)
    again = study.Sweep(tmp_path, ["dense"], 1)
    assert again.counted() == []
    again.alive.release()
    assert ("is damaged: it is now trials.db.damaged, and the sweep begins again" in capsys.readouterr().out) == (
        content != b""
    )
