"""What all benchmarks share: named ways of doing the same work, measured in turn, and how their figures are shown.

Each round runs every way once, so that other load on the machine meets all of them; the median of the rounds counts.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
Way = Callable[[], object]
Figures = dict[str, list[float]]  # of each way, one for each round


def parser(text: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """A parser of `--rounds` and `--json`."""
    result = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--rounds", type=int, default=rounds)
    result.add_argument("--json", type=Path, metavar="FILE", help="for the raw figures of all rounds")
    return result


def installed(package: str, way: str) -> bool:
    """Whether a peer's package is there; if it is not, a line says what the table lacks."""
    found = importlib.util.find_spec(package) is not None
    if not found:
        print(f"Left out, as {package} is not installed (benchmarks/requirements.txt): {way}.\n")
    return found


def seconds(way: Way) -> float:
    """How long a way takes."""
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def measure(ways: Mapping[str, Way], rounds: int, warm_up: bool = True) -> Figures:
    """Seconds of each way in each round; the warm-up is not counted."""
    for way in ways.values() if warm_up else ():
        way()
    figures: Figures = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            figures[name].append(seconds(way))
    return figures


def rates(figures: Figures, count: int) -> Figures:
    """Pictures per second, from the seconds that `count` of them took."""
    return {name: [count / value for value in values] for name, values in figures.items()}


def medians(figures: Figures) -> dict[str, float]:
    """The median of each way's figures."""
    return {name: statistics.median(values) for name, values in figures.items()}


def ratio(figures: Figures, way: str, base: str) -> float:
    """The median of a way relative to that of another."""
    return statistics.median(figures[way]) / statistics.median(figures[base])


def table(title: str, unit: str, figures: Figures, base: str = "", digits: int = 1) -> None:
    """Print a row for each way: its median, least and most, and the ratio of its median to that of `base`."""
    base = base or next(iter(figures))
    header(title, unit, "least", "most", "ratio")
    for name, values in figures.items():
        shown = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
        row(name, *shown, f"{ratio(figures, name, base):.2f}")
    print()


def header(*columns: str) -> None:
    """Print the first two lines of a Markdown table."""
    row(*columns)
    row(*["---"] * len(columns))


def row(*cells: object) -> None:
    """Print a line of a Markdown table."""
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def save(file: Path | None, figures: Mapping[str, object]) -> None:
    """Write raw figures as JSON."""
    if file:
        file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, evenly spread over all of them; all, if there are no more."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]
