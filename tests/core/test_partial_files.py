import os
import subprocess
import time

from darkroom.core.files import write_text
from darkroom.core.partial_files import machine


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_killed_processes_left_is_deleted(tmp_path):
    living = subprocess.Popen(["sleep", "60"])
    try:
        kept = {f".a.{machine()}.{living.pid}.partial", ".other.partial", "b.999999999.partial"}
        for name in (*kept, f".a.{machine()}.999999999.partial", f".c.{machine()}.{os.getpid()}.partial"):
            (tmp_path / name).touch()
        (tmp_path / f".d.{machine()}.999999999.partial").mkdir()
        with_old_number = tmp_path / f".e.{machine()}.{living.pid}.partial"  # of another process
        with_old_number.touch()
        os.utime(with_old_number, (1, 1))
        write_text(tmp_path / "file", "text")
        assert set(names(tmp_path)) == {*kept, "file"}
    finally:
        living.kill()
        living.wait()


def test_what_another_machine_writes_to_a_shared_folder_is_kept_for_a_day(tmp_path):
    """Its processes cannot be looked at from here, where their numbers may be free."""
    young, old = tmp_path / ".a.another-machine.999999999.partial", tmp_path / ".b.another-machine.999999999.partial"
    for path in (young, old):
        path.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    write_text(tmp_path / "file", "text")
    assert set(names(tmp_path)) == {young.name, "file"}
