"""A version of the data: the pictures that DVC recorded, without checking them out."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.errors import UserError, is_of_the_machine
from darkroom.core.paths import GROUPS, RAW, SPLIT
from darkroom.core.yaml import parse_yaml
from darkroom.images.folders import PARTS
from darkroom.pipeline import dvc_state

WORKSPACE = "workspace"
LEFT_OUT = "left out"  # the picture is in data/raw but not in data/split
Files = dict[str, str]  # path in a folder, such as train/cat/1.jpg, to the MD5 of its content


class Picture(NamedTuple):
    """One picture of a version."""

    label: str
    name: str
    md5: str
    split: str  # train, val, test, or LEFT_OUT


@dataclass(frozen=True)
class Version:
    """What DVC recorded of data/raw and of the data/split made from it; None if there is none yet."""

    raw_md5: str
    raw: Files
    split_md5: str | None
    split: Files | None


def read(revision: str) -> Version:
    """The version of a git revision, of a DVC experiment, or the last that `dvc repro` recorded in this workspace.

    Only lists of files are read, from DVC's cache or from the remote: a few bytes for each picture.

    Raises:
        UserError: there is no such version, or its lists of files are not available.
    """
    dvc_state.repair()
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import RevError

    try:
        with Repo() as repo:  # the workspace's remote: an older revision may have none yet
            raw_md5, split_md5 = _locked(DVCFileSystem(rev=None if revision == WORKSPACE else revision))
            if raw_md5 is None:
                raise UserError(f"{revision} has no {RAW} in its dvc.lock: run `dvc repro split` and commit dvc.lock.")
            return Version(raw_md5, _files(repo, raw_md5), split_md5, _files(repo, split_md5) if split_md5 else None)
    except RevError:
        raise UserError(f"{revision} is not a git revision, an experiment, or `{WORKSPACE}`.") from None
    except FileNotFoundError:
        raise UserError(
            f"neither DVC's cache nor the default remote has the list of pictures of {revision}: run `dvc push {RAW} "
            f"{SPLIT}` where it was made, or `dvc fetch --all-commits -r REMOTE {RAW} {SPLIT}` from another remote."
        ) from None
    except DvcException as error:
        raise UserError(f"the data of {revision} cannot be read ({' '.join(str(error).split())}).") from None


def _locked(filesystem: Any) -> tuple[str | None, str | None]:
    """The MD5 of data/raw, and of data/split unless it is older, as a killed or partial `dvc repro` leaves it."""
    try:
        stages = parse_yaml(filesystem.read_text("dvc.lock"), "dvc.lock")["stages"]
    except FileNotFoundError:
        return None, None

    def md5(stage: str, side: str, folder: Path) -> str | None:
        entries = stages.get(stage, {}).get(side, [])
        return next((entry["md5"] for entry in entries if entry["path"] == folder.as_posix()), None)

    current = md5("split", "deps", GROUPS) == md5("download", "outs", GROUPS)
    return md5("download", "outs", RAW), md5("split", "outs", SPLIT) if current else None


def _files(repo: Any, md5: str) -> Files:
    """The list that DVC keeps of the files in a folder.

    Raises:
        FileNotFoundError: neither the cache nor the default remote has it.
        UserError: the remote fails.
    """
    from dvc.config import NoRemoteError
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    try:
        tree = Tree.load(repo.cache.local, HashInfo("md5", md5))
    except FileNotFoundError:
        try:
            tree = Tree.load(repo.cloud.get_remote_odb(), HashInfo("md5", md5))
        except (FileNotFoundError, NoRemoteError):
            raise FileNotFoundError(md5) from None
        except Exception as error:  # whatever a remote on a network may raise
            if is_of_the_machine(error):
                raise
            text = " ".join(str(error).split())[:200]
            raise UserError(f"{md5}, a list of pictures, cannot be read from the DVC remote ({text}).") from None
    return {"/".join(parts): content.value for parts, _, content in tree}


def pictures(raw: Files, split: Files | None) -> Counter[Picture]:
    """Every picture of data/raw with its split; if there is no split, with the part of the source it came in.

    The same content may be in several places, even under the same name in an official train and test.
    """
    if split is None:
        return Counter(Picture(label, name, md5, part) for (part, label, name), md5 in split_paths(raw))
    places = Counter((*parts, md5) for parts, md5 in split_paths(split))
    result: Counter[Picture] = Counter()
    for (part, label, name), md5 in split_paths(raw):
        place = next((place for place in (part, *PARTS) if places[place, label, name, md5]), LEFT_OUT)
        places[place, label, name, md5] -= 1
        result[Picture(label, name, md5, place)] += 1
    return result


def split_paths(files: Files) -> list[tuple[list[str], str]]:
    """The part, label and name of each file, and its MD5."""
    return [(path.split("/", 2), md5) for path, md5 in files.items()]
