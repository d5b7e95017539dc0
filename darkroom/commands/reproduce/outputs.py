"""What DVC recorded of a run: the MD5 of each dependency and output, and of the files in a folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.files import read_json
from darkroom.core.yaml import parse_yaml

FOLDER = ".dir"  # at the end of the MD5 of a folder, which is that of the list of its files
SHOWN = 5  # files of a folder that are named


class Difference(NamedTuple):
    """Something that differs from what was recorded."""

    stage: str
    path: str
    files: list[str]  # in a folder, those that differ, as far as the lists are there


def differences(recorded: str, repeated: str, side: str, caches: tuple[Path, Path]) -> Iterator[Difference]:
    """What differs between two texts of dvc.lock.

    Args:
        recorded: of the commit.
        repeated: of the new run.
        side: `outs`; or `deps`, of which those that other stages write are left out.
        caches: DVC's of both, in which the lists of files are.
    """
    ours, theirs = (_entries(text, side) for text in (repeated, recorded))
    written = {path for _, path in _entries(recorded, "outs")} if side == "deps" else set()
    for stage, path in {**theirs, **ours}:
        first, second = theirs.get((stage, path)), ours.get((stage, path))
        if first != second and path not in written:
            yield Difference(stage, path, _files(first, second, caches))


def params_differ(recorded: str, repeated: str) -> Iterator[str]:
    """The stages whose params or command differ."""
    ours, theirs = (parse_yaml(text, "dvc.lock").get("stages", {}) for text in (repeated, recorded))
    yield from (
        name
        for name in theirs
        if any(ours.get(name, {}).get(key) != theirs[name].get(key) for key in ("cmd", "params"))
    )


def count(text: str) -> int:
    """The number of outputs."""
    return len(_entries(text, "outs"))


def _entries(text: str, side: str) -> dict[tuple[str, str], str]:
    """The MD5 (or other hash) of each path on a side, by stage and path, in the order of the stages."""
    stages: Mapping[str, Any] = parse_yaml(text, "dvc.lock").get("stages", {})
    return {
        (name, entry["path"]): str(entry.get("md5") or entry)
        for name, stage in stages.items()
        for entry in stage.get(side, ())
    }


def _files(recorded: str | None, repeated: str | None, caches: tuple[Path, Path]) -> list[str]:
    """The files of a folder that differ; empty for a file, or where a list is not in its cache."""
    lists = []
    for md5, cache in zip((recorded, repeated), caches, strict=True):
        path = cache / "files/md5" / (md5 or "")[:2] / (md5 or "")[2:]
        if not (md5 or "").endswith(FOLDER) or not path.is_file():
            return []
        lists.append({item["relpath"]: item["md5"] for item in read_json(path)})
    first, second = lists
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
