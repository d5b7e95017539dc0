"""What archives of all kinds share: each member is checked before anything of it is written."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.files import link_or_copy
from darkroom.core.resources import require_space

BIG = 2**24  # bytes of a file
MAX_DEPTH = 50  # nested folders
MAX_NAME_SIZE = 255  # bytes of one name on all usual file systems


class Limits(NamedTuple):
    """The most that an archive may unpack to, with the archives in it."""

    bytes: int
    files: int


class Member(NamedTuple):
    """An entry of an archive; `refusal` is why it is not allowed, such as a link, or None for a file or folder."""

    name: str
    size: int = 0
    folder: bool = False
    refusal: str | None = None


class Budget:
    """What is left of the limits; one for an archive and all archives in it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes, self.entries, self.files = 0, 0, 0

    def take(self, member: Member, name: str) -> None:
        """Count a member of the archive `name`.

        Raises:
            UserError: the limits do not allow it.
        """
        self.entries += 1
        self.files += not member.folder
        self.bytes += member.size
        if self.entries > self.limits.files or self.bytes > self.limits.bytes:
            raise UserError(
                f"{name} unpacks to more than {self.limits.files:,} files or {self.limits.bytes / 1e9:,.1f} GB: raise "
                "download.unpacked_files and download.unpacked_gb if that is intended."
            )


class DamagedError(Exception):
    """What the archive says of itself is not true."""


class Unpacking:
    """An archive, called `name` in messages, on its way into an empty folder."""

    def __init__(self, name: str, folder: Path, budget: Budget) -> None:
        self.name, self.folder, self.budget = name, folder, budget
        self.files: dict[Path, Path] = {}  # by the path in the archive
        self.folders = {Path()}

    def place(self, member: Member) -> Path | None:
        """Where a file is to be written; None for folders, which are created.

        Raises:
            UserError: the member is a link or a device, lies outside, has the name of another, or exceeds the limits.
        """
        path = self._safe_path(member)
        self.budget.take(member, self.name)
        folder = path if member.folder else path.parent
        taken = path in self.files or (path in self.folders and not member.folder)
        if taken or any(parent in self.files for parent in path.parents):
            raise UserError(f"{self.name} contains {member.name} twice.")
        if folder not in self.folders:
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            self.folders |= {folder, *folder.parents}
        if member.folder:
            return None
        if member.size > BIG:  # to ask for each file would take long
            what = f"{self.name} cannot be unpacked: {member.name}"
            require_space(self.folder, member.size, what, "free some, or use a larger disk")
        target = self.folder / path
        if target.exists():  # where the file system does not distinguish A.jpg from a.jpg
            raise UserError(f"{self.name} contains {member.name} twice.")
        self.files[path] = target
        return target

    def write(self, member: Member, data: Iterable[bytes]) -> None:
        """Write a file from blocks of bytes; nothing is read for what is not to be written.

        Raises:
            UserError: as `place`.
            DamagedError: there are more or fewer bytes than the archive says.
        """
        if (target := self.place(member)) is None:
            return
        left = member.size
        with target.open("wb") as stream:
            for block in data:
                left -= len(block)
                if left < 0:
                    raise DamagedError(f"{member.name} is longer than it should be")
                stream.write(block)
        if left:
            raise DamagedError(f"{member.name} is shorter than it should be")

    def link(self, member: Member, original: str) -> None:
        """Write a file as a second name of one that has been unpacked.

        Raises:
            UserError: as `place`, or there is no such file in the folder.
        """
        source = self.files.get(self._safe_path(Member(original)))
        if source is None:
            raise UserError(f"{self.name} is refused: {member.name} is a link to {original}, which is not before it.")
        if target := self.place(member._replace(size=source.stat().st_size)):
            link_or_copy(source, target)

    def _safe_path(self, member: Member) -> Path:
        """The member's path, if it is a file or folder that stays inside the folder."""
        name = member.name
        if member.refusal:
            raise UserError(f"{self.name} is refused: {name} is {member.refusal}.")
        for flavour in (PurePosixPath, PureWindowsPath):
            path = flavour(name)
            if path.is_absolute() or path.drive or ".." in path.parts or "\0" in name:
                raise UserError(f"{self.name} is refused: {name!r} would lie outside the folder.")
        parts = PurePosixPath(name).parts
        if len(parts) > MAX_DEPTH:
            raise UserError(f"{self.name} is refused: {name[:50]!r}... lies in more than {MAX_DEPTH} folders.")
        if long := next((part for part in parts if len(part.encode()) > MAX_NAME_SIZE), None):
            raise UserError(
                f"{self.name} cannot be unpacked: the name {long[:60]}... is longer than the {MAX_NAME_SIZE} bytes "
                "that file systems allow: pack it again with shorter names."
            )
        return Path(*parts)
