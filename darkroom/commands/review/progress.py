"""What decisions were worth: the accuracy on validation after each run, to know when to stop."""

from pathlib import Path
from typing import NamedTuple

from darkroom.core import paths, reports
from darkroom.core.files import read_csv, write_csv
from darkroom.download.ledger import KINDS

SPAN = 50  # decisions that are looked back


class Run(NamedTuple):
    """A run of the pipeline."""

    decisions: int  # that it applied
    accuracy: float  # on val


def record(path: Path) -> list[Run]:
    """Add the last run to the table at `path`, unless it is there, and return all runs in order."""
    rows = read_csv(path, numbers=Run._fields) if path.exists() else []
    runs = [Run(int(row["decisions"]), float(row["accuracy"])) for row in rows]
    if paths.DATASET_REPORT.exists() and paths.METRICS.exists():
        counts, metrics = reports.dataset().get("decisions", {}), reports.metrics()
        last = Run(sum(counts.get(kind, 0) for kind in KINDS), metrics["accuracy_val"])
        if runs[-1:] != [last]:
            runs.append(last)
            write_csv(path, Run._fields, runs)
    return runs


def hint(runs: list[Run]) -> str:
    """What the last `SPAN` decisions, or the fewest more that are in one run, changed; empty without an earlier run."""
    if not runs:
        return ""
    last = runs[-1]
    earlier = [run for run in runs if run.decisions < last.decisions]
    if not earlier:
        return ""
    before = max((run for run in earlier if run.decisions <= last.decisions - SPAN), default=earlier[0])
    count, change = last.decisions - before.decisions, last.accuracy - before.accuracy
    return f"The last {count:,} decisions changed the accuracy on validation by {change:+.4f}, to {last.accuracy:.4f}."
