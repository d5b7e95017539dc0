"""Small folders of labelled files and the download stage's table for them. The split stage reads no pixels."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from darkroom.split.params import Params
from stages import split

METHODS = ("ratio", "fixed", "kfold", "ordered", "stable")
RATIO = [0.7, 0.1, 0.2]


def split_params(method: str = "ratio", **changes: Any) -> Params:
    """Params of the split stage that go with every method."""
    return Params(**{"method": method, "ratio": RATIO, "fixed": [3, 4] if method == "fixed" else None} | changes)


def make_raw(root: Path, counts: Mapping[str, int], part: str = "train") -> Path:
    """Write small files to a part: `counts` of each class."""
    names = [f"{part}/{label}/{part}{number:03d}.png" for label, count in counts.items() for number in range(count)]
    return write_files(root, names)


def write_files(root: Path, names: Iterable[str]) -> Path:
    """Write files, each with its name as its content."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def group_rows(raw: Path, groups: Iterable[Collection[str]] = ()) -> dict[str, dict[str, str]]:
    """The rows of reports/groups.csv by picture; each of `groups` is a set of near-duplicates."""
    names = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*") if path.is_file())
    group = {name: str(number) for number, members in enumerate(groups, start=1) for name in members}
    return {
        name: {
            "picture": name,
            "md5": hashlib.md5((raw / name).read_bytes(), usedforsecurity=False).hexdigest(),
            "hash": hashlib.sha256(name.encode()).hexdigest()[:16],
            "group": group.get(name, ""),
            "source_group": "",
            "decision": "",
            "source": "",
        }
        for name in names
    }


def split_of(raw: Path, params: Params, seed: int = 1, groups: Iterable[Collection[str]] = ()) -> split.Result:
    """The split of the files in `raw`."""
    return split.split(raw, group_rows(raw, groups), params, seed)
