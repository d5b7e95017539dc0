"""Forecast the minutes, memory and disk that a run will take.

Some seconds are measured on this machine. Only stages that `dvc repro` would run are in the forecast. A training that
may stop early is counted with all of its epochs, and so is work of which an earlier run left the results in .cache.
Nothing is printed where the forecast would take longer than the run.

Reads   params.yaml, dvc.lock, the source of the pictures or reports/groups.csv
"""

import tempfile
from pathlib import Path

from darkroom.commands.forecast import contents, text
from darkroom.commands.forecast.contents import Contents
from darkroom.commands.forecast.costs import Stage, forecast
from darkroom.commands.forecast.rehearsal import rehearse
from darkroom.commands.forecast.workload import workload
from darkroom.pipeline import params
from darkroom.pipeline.dvc_status import outdated
from darkroom.pipeline.params import STAGES, Params


def main() -> None:
    """Print the forecast of a run, if it takes long enough."""
    sections = params.current()
    stages = outdated()
    if not stages or (stages[0] not in STAGES[:4] and not (stages[0] == "train" and sections.train.by_descent)):
        return
    found = contents.of_source(sections) if stages[0] == "download" else contents.downloaded()
    if found is None:
        source = sections.download.url or sections.download.name
        print(f"No forecast: how many pictures {source} has is known after `dvc repro download`.")
        return
    if len(found.counts) < 2 or not found.sample:
        return  # `download` or `split` will refuse it
    print("Measuring for some seconds how long this will take …", flush=True)
    print(text.described([stage for stage in of_run(sections, found) if stage.name in stages], sections))
    if address := sections.compute.address:
        print(f"The cluster at {address} shares the work of download, augment and extract: the forecast is without it.")


def of_run(sections: Params, found: Contents) -> list[Stage]:
    """The forecast of all stages.

    Args:
        sections: of params.yaml.
        found: what the source holds.

    Raises:
        UserError: a stage would end with it, such as for a layer that does not exist.
    """
    work = workload(found.counts, sections)
    with tempfile.TemporaryDirectory() as folder:
        size = contents.write_sample(found.sample, Path(folder))
        return forecast(sections, work, size, rehearse(sections, work, Path(folder)))
