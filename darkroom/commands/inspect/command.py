"""Look at a folder of pictures, and recommend settings for it.

Prints how the folder is read, its classes, sizes, bad files, copies, near-duplicates and issues; then the changes of
params.yaml that suit it, each with its reason, and the time, memory and disk that a run with them will take. Every file
is decoded, as in `download`. An archive, a table of pictures or labels, a CSV file of pixels, or a folder of these may
be given, too.

Reads   FOLDER, params.yaml
Writes  params.yaml (with --write)
"""

import shlex
from pathlib import Path
from typing import Any

from darkroom.commands.forecast import text as forecasts
from darkroom.commands.forecast.command import of_run
from darkroom.commands.forecast.contents import Contents, Sampler
from darkroom.commands.inspect import advice, reading, text
from darkroom.commands.inspect.findings import look
from darkroom.core.files import scratch_folder
from darkroom.core.params import overlay
from darkroom.core.paths import INCOMING, PARAMS, RAW
from darkroom.pipeline import params, recipes

ARGUMENTS: dict[str, dict[str, Any]] = {
    "folder": {"nargs": "?", "type": Path, "default": INCOMING, "metavar": "FOLDER", "help": f"default: {INCOMING}"},
    "--write": {"action": "store_true", "help": "put the recommended settings into params.yaml"},
    "--no-forecast": {"action": "store_false", "dest": "forecast", "help": "do not measure what a run will take"},
}


def main(folder: Path, write: bool, forecast: bool) -> None:
    """Print the findings, the recommended changes and the forecast, and write the changes if asked to."""
    current = params.load()
    seed = params.check(current).base.seed
    with scratch_folder(RAW) as scratch:  # on the disk to which the stage unpacks archives
        settings, source = reading.read(folder, scratch, current.get("download", {}))
        sampler = Sampler(source.files)
        found = look(settings, source._replace(files=sampler), seed)
        print(text.described(found))
        recommended = advice.advise(found, seed)
        content = current
        for item in recommended:
            content = overlay(content, recipes.nested(item.key, item.value))
        sections = params.check(content)
        differences = text.changes(recommended, params.complete(current))
        if differences:
            print(f"\nRecommended changes of {PARAMS}:\n\n{differences}")
        if forecast:
            print("\nA run with these settings, on this machine:\n", flush=True)
            labels = sections.download.class_names or found.counts
            counts = {label: found.counts[label] for label in labels}
            print(forecasts.described(of_run(sections, Contents(counts, sampler.sample)), sections))
    if not differences:
        print(f"\n{PARAMS} has the settings that suit these pictures: make run")
    elif write:
        recipes.write_params(content)
        print(f"\n{PARAMS} is changed. Next: make run")
    else:
        print(f"\nTo make these changes: python -m darkroom inspect {shlex.quote(str(folder))} --write")
