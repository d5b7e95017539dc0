"""Look at a folder of pictures, and recommend settings for it.

Prints how the folder is read, its classes, sizes, bad files, copies, near-duplicates and issues; then the changes of
params.yaml that suit it, each with its reason. Every file is decoded, as in `download`. An archive, a table of pictures
or labels, a CSV file of pixels, or a folder of these may be given, too.

Reads   FOLDER, params.yaml
Writes  params.yaml (with --write)
"""

import shlex
from pathlib import Path
from typing import Any

from darkroom.commands.inspect import advice, reading, text
from darkroom.commands.inspect.findings import look
from darkroom.core.files import scratch_folder
from darkroom.core.params import overlay
from darkroom.core.paths import INCOMING, PARAMS, RAW
from darkroom.pipeline import params, recipes

ARGUMENTS: dict[str, dict[str, Any]] = {
    "folder": {"nargs": "?", "type": Path, "default": INCOMING, "metavar": "FOLDER", "help": f"default: {INCOMING}"},
    "--write": {"action": "store_true", "help": "put the recommended settings into params.yaml"},
}


def main(folder: Path, write: bool) -> None:
    """Print the findings and the recommended changes, and write these if asked to."""
    current = params.load()
    seed = params.check(current).base.seed
    with scratch_folder(RAW) as scratch:  # on the disk to which the stage unpacks archives
        found = look(*reading.read(folder, scratch, current.get("download", {})), seed)
    print(text.described(found))
    recommended = advice.advise(found, seed)
    content = current
    for item in recommended:
        content = overlay(content, recipes.nested(item.key, item.value))
    params.check(content)
    differences = text.changes(recommended, params.complete(current))
    if not differences:
        print(f"\n{PARAMS} has the settings that suit these pictures: make run")
        return
    print(f"\nRecommended changes of {PARAMS}:\n\n{differences}\n")
    if write:
        recipes.write_params(content)
        print(f"{PARAMS} is changed. Next: make run")
    else:
        print(f"To make these changes: python -m darkroom inspect {shlex.quote(str(folder))} --write")
