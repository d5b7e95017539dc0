"""How many wrong labels people find on the review page, against pictures in random order, and what the model gains.

    python -m benchmarks.review [--seeds 1 2 3] [--plot FILE] [--json FILE]

Needs a finished `dvc repro` with a pretrained backbone, whose pictures and labels are taken for the truth. In a copy of
the project, the labels of one training picture in twenty are replaced by others at random. Someone who knows the truth
then reviews a tenth of the training pictures: on the page in a real browser, by keys, first whatever is suspicious,
with `dvc repro` when that is worked off, then what is unlikely; or pictures in random order. Val and test keep their
labels.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from playwright.sync_api import expect, sync_playwright

from benchmarks import rounds
from darkroom.core.files import link_or_copy, read_csv
from darkroom.core.paths import DECISIONS, INCOMING, METRICS, PARAMS, SPLIT, SPLIT_REPORT
from darkroom.core.seeds import stream
from darkroom.download import ledger
from darkroom.download.ledger import Decision
from darkroom.pipeline import params

SWAPPED, REVIEWED = 0.05, 0.1  # shares of the training pictures
STEPS = 4  # after each of which the random order is measured
SETTINGS: dict[str, dict[str, Any]] = {
    "download": {"source": "folder", "path": str(INCOMING), "layout": "parts", "limit_per_class": None, "url": None},
    "split": {"method": "ratio"},
    "augment": {"target": "none"},
    "evaluate": {"grad_cam": 0},
}
Labels = Mapping[str, str]  # by the MD5 of the picture's file


class Point(NamedTuple):
    """The state after some decisions."""

    decisions: int
    wrong: int  # labels of train that are not the true ones
    accuracy: float  # on test


def true_labels() -> Labels:
    """The labels of train in this project."""
    return {row["md5"]: row["class"] for row in read_csv(SPLIT_REPORT) if row["split"] == "train"}


def swapped(truth: Labels, seed: int) -> Labels:
    """Another label for each of a random share of the pictures."""
    random, classes = stream(seed, "benchmark", "swap"), sorted(set(truth.values()))
    chosen = random.permutation(sorted(truth))[: round(SWAPPED * len(truth))]
    return {md5: random.choice([label for label in classes if label != truth[md5]]) for md5 in map(str, chosen)}


def prepare(folder: Path, wrong: Labels, label_issues: int, seed: int) -> None:
    """Clone this project to a folder, with the pictures of data/split as its source, some of them with wrong labels."""
    subprocess.run(["git", "clone", "-q", "--shared", ".", folder], check=True)
    content = params.load()
    for section, settings in SETTINGS.items():
        content[section] = content.get(section, {}) | settings
    content["evaluate"]["label_issues"] = label_issues  # 0: not searched for, which takes most of the time
    content["base"] = {"seed": seed}
    (folder / PARAMS).write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    shutil.copytree(".cache", folder / ".cache", copy_function=os.link)  # has the features
    for row in read_csv(SPLIT_REPORT):
        label = wrong.get(row["md5"], row["class"]) if row["split"] == "train" else row["class"]
        name = f"{row['class']}_{Path(row['picture']).name}"
        link_or_copy(SPLIT / row["picture"], folder / INCOMING / row["split"] / label / name)


def measure(folder: Path, truth: Labels) -> Point:
    """Apply the decisions, train, and count."""
    subprocess.run(["dvc", "repro", "-q", "evaluate"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    rows = [row for row in read_csv(folder / SPLIT_REPORT) if row["md5"] in truth and row["split"] == "train"]
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    wrong = sum(row["class"] != truth[row["md5"]] for row in rows)
    return Point(len(ledger.read(folder / DECISIONS)), wrong, metrics["accuracy"])


def on_the_page(folder: Path, truth: Labels) -> Iterator[Point]:
    """Review what is suspicious, then what is unlikely in two steps, until a tenth of the pictures is decided on."""
    budget = round(REVIEWED * len(truth))
    for queue, share in (("suspicious", 1.0), ("unlikely", 0.75), ("unlikely", 1.0)):
        with served(folder) as address:
            work_off(address, queue, truth, round(share * budget) - len(ledger.read(folder / DECISIONS)))
        yield measure(folder, truth)


def work_off(address: str, queue: str, truth: Labels, count: int) -> None:
    """Press a key for each training picture of a queue, at most `count` of them; others are skipped."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(f"{address}/#{queue}")
        items = tab.evaluate("async name => (await (await fetch(`queue/${name}`)).json()).items", queue)
        keys = {text[1:]: text[0] for text in tab.locator("#classes button").all_text_contents()}
        for place, item in enumerate(items, start=1):
            if count > 0 and not item["decision"]:
                expect(tab.locator("#path")).to_have_text(re.compile(rf"^{place}\. "), timeout=60_000)
                tab.keyboard.press(keys[truth[item["md5"]]] if item["md5"] in truth else "ArrowRight")
                count -= item["md5"] in truth
        tab.evaluate("busy")
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the page of a project."""
    command = [sys.executable, "-m", "darkroom", "review", "--port", "0", "--author", "benchmark"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = None
            while not found and process.stdout and (line := process.stdout.readline()):
                found = re.match(r"review: (http://\S+)", line)
            if not found:
                raise SystemExit("the page did not start")
            yield found[1]
        finally:
            process.terminate()


def at_random(folder: Path, truth: Labels, given: Labels, seed: int) -> Iterator[Point]:
    """Decide on as many pictures in random order."""
    budget = round(REVIEWED * len(truth))
    order = stream(seed, "benchmark", "order").permutation(sorted(truth))[:budget]
    for step in np.array_split(order, STEPS):
        for md5 in map(str, step):
            kind: ledger.Kind = "confirm" if given.get(md5, truth[md5]) == truth[md5] else "relabel"
            ledger.append(folder / DECISIONS, Decision(md5, kind, truth[md5], "benchmark", ledger.now(), ""))
        yield measure(folder, truth)


def main() -> None:
    """Print a Markdown table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="for the raw figures; more seeds go on after its")
    arguments = parser.parse_args()
    truth = true_labels()
    print(f"{len(truth):,} training pictures, {round(SWAPPED * len(truth)):,} labels swapped\n")
    rounds.header("seed", "order", "decisions", "labels still wrong", "accuracy on test")
    curves = read(arguments.json)
    for seed in arguments.seeds[len(curves["page"]) :]:
        wrong = swapped(truth, seed)
        with tempfile.TemporaryDirectory(prefix="darkroom-review-") as name:
            folders = {order: Path(name) / order.split()[0] for order in curves}
            for order, folder in folders.items():
                prepare(folder, {} if order == "true labels" else wrong, 24 if order == "page" else 0, seed)
            start = measure(folders["page"], truth)
            points = {
                "true labels": iter([measure(folders["true labels"], truth)]),
                "page": on_the_page(folders["page"], truth),
                "random": at_random(folders["random"], truth, wrong, seed),
            }
            for order, curve in curves.items():
                curve.append([] if order == "true labels" else [start])
                for point in [] if order == "true labels" else [start]:
                    rounds.row(seed, order, point.decisions, point.wrong, f"{point.accuracy:.4f}")
                for point in points[order]:
                    curve[-1].append(point)
                    rounds.row(seed, order, point.decisions, point.wrong, f"{point.accuracy:.4f}")
        rounds.save(arguments.json, curves)
    if arguments.plot:
        draw(curves, len(truth), arguments.plot)


def read(file: Path | None) -> dict[str, list[list[Point]]]:
    """The curves of each order, one for each seed, that an earlier run saved."""
    saved = json.loads(file.read_text(encoding="utf-8")) if file and file.exists() else {}
    return {
        order: [[Point(*values) for values in curve] for curve in saved.get(order, [])]
        for order in ("true labels", "page", "random")
    }


def draw(curves: Mapping[str, list[list[Point]]], pictures: int, target: Path) -> None:
    """Errors that are left, and accuracy, against the share of the pictures that was reviewed."""
    from darkroom.drawing import figures

    figure, axes = figures.pyplot.subplots(1, 2, figsize=(10, 4))
    for order, color in (("page", figures.BLUE), ("random", figures.ORANGE)):
        for number, curve in enumerate(curves[order]):
            shares = [100 * point.decisions / pictures for point in curve]
            label = {"label": {"page": "the page's order", "random": "random order"}[order]} if number == 0 else {}
            axes[0].plot(shares, [point.wrong for point in curve], color=color, marker="o", **label)
            axes[1].plot(shares, [point.accuracy for point in curve], color=color, marker="o", **label)
    best = float(np.mean([curve[0].accuracy for curve in curves["true labels"]]))
    axes[1].axhline(best, color="grey", linestyle="--")
    titles = ("training labels that are wrong", "accuracy on test (dashed: trained on the true labels)")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xlabel="training pictures reviewed (%)", title=title)
    axes[0].legend()
    axes[0].set_ylim(bottom=0)
    figures.save(figure, target)


if __name__ == "__main__":
    main()
