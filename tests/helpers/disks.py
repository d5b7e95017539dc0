"""Small disks: file systems in memory of a size that can be changed. Needs root, or sudo without a password."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
LARGE = 2**30


class Disk:
    """A mounted file system."""

    def __init__(self, folder: Path, inodes: int = 0) -> None:
        self.folder, self.inodes = folder, inodes

    def resize(self, free: int) -> None:
        """Leave so many free bytes, rounded up to whole pages."""
        self._mount("remount", self.used() + -(-free // PAGE) * PAGE)

    def used(self) -> int:
        """Bytes in use."""
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def limit_files(self, free: int) -> None:
        """Leave so many files that can be made; 0 lifts the limit."""
        state = os.statvfs(self.folder)
        self.inodes = state.f_files - state.f_ffree + free if free else 0
        self._mount("remount", LARGE)

    def mount(self) -> None:
        """Mount it, large enough for anything."""
        self._mount("rw", LARGE)

    def _mount(self, option: str, size: int) -> None:
        options = f"{option},size={size},nr_inodes={self.inodes or 10**6}"
        _as_root("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A small disk mounted on a new folder."""
    folder.mkdir()
    mounted = Disk(folder)
    mounted.mount()
    try:
        yield mounted
    finally:
        _as_root("umount", "--lazy", str(folder))


def _as_root(*command: str) -> None:
    subprocess.run(command if os.getuid() == 0 else ("sudo", "-n", *command), check=True)
