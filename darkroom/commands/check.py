"""Check params.yaml, and that DVC can run and hash the pictures.

What would stop DVC with an error that names no remedy is named here with it, such as a name that is not UTF-8, or a
folder in no git repository. Locks and files of DVC's own that a killed process left, or that are damaged, are cleared.

Reads   params.yaml, dvc.yaml, the names of the files in download.path, download.unlabelled and data/incoming
Writes  .dvc/tmp, if something has to be cleared there
"""

import re
from pathlib import Path

from darkroom.core.errors import UserError
from darkroom.core.outputs import PIPELINE
from darkroom.core.params import flat
from darkroom.core.paths import INCOMING
from darkroom.download.tracked import check_hashable, check_tracked
from darkroom.pipeline import dvc_state, params


def main() -> None:
    """Check and repair; silent if all is well."""
    dvc_state.repair()
    download = params.current().download
    check_keys()
    for key, path in (("path", download.path), ("unlabelled", download.unlabelled)):
        if not Path(path).exists():
            raise UserError(f"download.{key} {path} does not exist: put pictures there, or change it in params.yaml.")
    for folder in dict.fromkeys((Path(download.path), Path(download.unlabelled), INCOMING)):
        check_hashable(folder)
        check_tracked(folder)


def check_keys() -> None:
    """Check that params.yaml has the keys that dvc.yaml takes from it: DVC knows no defaults.

    Raises:
        UserError: names the key, and its default.
    """
    content = params.load()
    values, defaults = flat(content), flat(params.complete(content))
    for key in re.findall(r"\$\{([\w.]+)\}", PIPELINE.read_text(encoding="utf-8")):
        if key not in values:
            section, _, name = key.partition(".")
            raise UserError(f"params.yaml has no {key}, which DVC needs: add `{name}: {defaults[key]}` to {section}.")
