"""A folder's version, by the name that DVC has for it."""

import hashlib
from pathlib import Path


def folder_md5(folder: Path) -> str:
    """The md5 that dvc.lock has, or will have, of a folder that is kept by DVC: `….dir`.

    It is that of the list of its files, each with its md5, in DVC's own form (dvc_data.hashfile.tree), so that a
    stage can say it of its inputs and outputs without a look at dvc.lock, which is written only after it.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    files = Tree()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                md5 = hashlib.file_digest(stream, "md5").hexdigest()
            files.add(path.relative_to(folder).parts, Meta(), HashInfo("md5", md5))
    files.digest()
    return str(files.oid)
