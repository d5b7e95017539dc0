"""A version of the data: which pictures DVC recorded, without checking them out."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from darkroom.core.errors import UserError
from darkroom.core.params import parse_yaml
from darkroom.core.paths import RAW, SPLIT
from darkroom.images.folders import PARTS

WORKSPACE = "workspace"
LEFT_OUT = "left out"  # of data/split: the picture is in data/raw alone
Files = dict[str, str]  # path in a folder, such as train/cat/1.jpg, to the md5 of its content


class Picture(NamedTuple):
    """One picture of a version."""

    label: str
    name: str
    md5: str
    split: str  # train, val, test, or LEFT_OUT


@dataclass(frozen=True)
class Version:
    """What DVC recorded of data/raw and of the data/split that was made from it; None where there is none yet."""

    raw_md5: str
    raw: Files
    split_md5: str | None
    split: Files | None


def read(revision: str) -> Version:
    """The version of a git revision or DVC experiment, or the one that `dvc repro` recorded last in this workspace.

    Lists of files come from DVC's cache, or from the remote: some bytes for each picture, and no picture.

    Raises:
        UserError: there is none.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import RevError, SCMError

    try:
        with Repo() as here:  # whose remote it is: an older revision may know none yet
            raw_md5, split_md5 = _locked(DVCFileSystem(rev=None if revision == WORKSPACE else revision))
            if raw_md5 is None:
                raise UserError(f"{revision} has no {RAW} in its dvc.lock: `dvc repro split`, and commit dvc.lock.")
            return Version(raw_md5, _files(here, raw_md5), split_md5, _files(here, split_md5) if split_md5 else None)
    except RevError:
        raise UserError(f"{revision} is no git revision, experiment, or `{WORKSPACE}`.") from None
    except (NotDvcRepoError, SCMError):
        raise UserError("this folder is no git repository with DVC in it: call it where dvc.yaml is.") from None
    except FileNotFoundError:
        raise UserError(
            f"{revision}: neither DVC's cache nor the default remote has its list of pictures: where it was made, "
            f"`dvc push {RAW} {SPLIT}` it; if another remote has it, `dvc fetch --all-commits -r REMOTE {RAW} {SPLIT}`."
        ) from None
    except DvcException as error:
        raise UserError(f"{revision}: its data cannot be read ({' '.join(str(error).split())}).") from None


def _locked(recorded: Any) -> tuple[str | None, str | None]:
    """The md5 of data/raw, and of data/split unless it is older: a killed or partial `dvc repro` leaves such a one."""
    try:
        stages = parse_yaml(recorded.read_text("dvc.lock"), "dvc.lock")["stages"]
    except FileNotFoundError:
        return None, None

    def md5(stage: str, side: str, folder: Path) -> str | None:
        entries = stages.get(stage, {}).get(side, [])
        return next((entry["md5"] for entry in entries if entry["path"] == folder.as_posix()), None)

    raw = md5("download", "outs", RAW)
    return raw, md5("split", "outs", SPLIT) if md5("split", "deps", RAW) == raw else None


def _files(repo: Any, md5: str) -> Files:
    """The list that DVC keeps of a folder's files.

    Raises:
        FileNotFoundError: neither the cache nor the default remote has it.
        UserError: the remote cannot be asked.
    """
    from dvc.config import NoRemoteError
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    try:
        listed = Tree.load(repo.cache.local, HashInfo("md5", md5))
    except FileNotFoundError:
        try:
            listed = Tree.load(repo.cloud.get_remote_odb(), HashInfo("md5", md5))
        except (FileNotFoundError, NoRemoteError):
            raise FileNotFoundError(md5) from None
        except Exception as error:  # whatever a remote on a network may raise
            said = " ".join(str(error).split())[:200]
            raise UserError(f"the DVC remote does not give {md5}, a list of pictures ({said}).") from None
    return {"/".join(place): content.value for place, _, content in listed}


def pictures(raw: Files, split: Files | None) -> Counter[Picture]:
    """Every picture of data/raw with its split; without a split, with the part that it came in.

    The same content may lie in several places, even under one name, in an official train and test.
    """
    if split is None:
        return Counter(Picture(label, name, md5, part) for (part, label, name), md5 in parted(raw))
    placed = Counter((*place, md5) for place, md5 in parted(split))
    found: Counter[Picture] = Counter()
    for (part, label, name), md5 in parted(raw):
        where = next((one for one in (part, *PARTS) if placed[one, label, name, md5]), LEFT_OUT)
        placed[where, label, name, md5] -= 1
        found[Picture(label, name, md5, where)] += 1
    return found


def parted(files: Files) -> list[tuple[list[str], str]]:
    """Part, label and name of each file, and its md5."""
    return [(path.split("/", 2), md5) for path, md5 in files.items()]
