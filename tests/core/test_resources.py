import shutil
from pathlib import Path

import psutil
import pytest

from darkroom.core.errors import UserError, free_space, size
from darkroom.core.resources import require_memory, require_space


def test_too_little_space_is_said_before_the_work(tmp_path):
    folder = tmp_path / "not/yet"
    require_space(folder, 1, "a file", "free some")
    with pytest.raises(UserError, match=rf"^a file would take 1,000 TB on the disk that holds {folder}, but .* free"):
        require_space(folder, 1e15, "a file", "free some")
    with pytest.raises(UserError, match=f"on the disk that holds {Path.cwd()}, but"):
        require_space(Path(".models.partial/inner"), 1e15, "a file", "free some")
    assert free_space(folder) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_too_little_memory_is_said_before_the_work():
    require_memory(2**28, "a net", "make it smaller")
    needed = 2 * psutil.virtual_memory().total
    with pytest.raises(UserError, match=rf"^a net would take {size(needed)} of memory, but .* free"):
        require_memory(needed, "a net", "make it smaller")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (123_456, "123 kB"), (5e9, "5.0 GB"), (2e16, "20,000 TB")],
)
def test_sizes_are_for_people(count, text):
    assert size(count) == text
