"""DVC's own share of the work: pictures as many small files, against the same bytes as one file for each folder.

    python -m benchmarks.many_files [--count 70000] [--folders 3] [--set KEY=VALUE ...] [--json FILE]

Makes --count files of about 700 bytes in --folders folders, each the output of a stage whose command only moves it into
place, so that `dvc repro` does nothing but DVC's own work. As data/split shows the pictures of data/raw, the second
folder has the first one's files as hard links; the others have files of their own. Both ways are measured in temporary
repositories of git and DVC with this project's .dvc/config, and a remote in a folder beside. --set changes a setting of
DVC there, such as `cache.type=hardlink`.
"""

import argparse
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

SIZE = 700  # bytes, as of a picture of Fashion-MNIST
CLASSES = 10
CONFIG = Path(".dvc/config")
TABLE = "pictures.csv"  # stands for the tables that stages depend on instead of the folders
BOOKKEEPING, NOTHING, STATUS, PUSH, PULL = (
    "first `dvc repro`",
    "`dvc repro` without a change",
    "`dvc status`",
    "`dvc push`",
    "`dvc pull` of everything",
)


def make_files(root: Path, count: int, folders: int) -> Iterator[Path]:
    """Make `count` files in all; yield each folder."""
    random = np.random.default_rng(0)
    for number in range(folders):
        folder = root / str(number)
        for label in range(CLASSES):
            (folder / str(label)).mkdir(parents=True)
        for place in range(count // folders):
            path = folder / str(place % CLASSES) / f"{place:06}.png"
            if number == 1:
                os.link(root / "0" / path.relative_to(folder), path)
            else:
                path.write_bytes(random.bytes(SIZE))
        yield folder


def make_archives(root: Path, files: Path) -> Iterator[Path]:
    """Pack each folder of `files` into one file; yield its new folder."""
    for source in sorted(files.iterdir()):
        folder = root / source.name
        folder.mkdir(parents=True)
        with tarfile.open(folder / "pictures.tar", "w") as archive:
            archive.add(source, source.name)
        yield folder


def repository(folder: Path, made: list[Path], settings: list[str]) -> None:
    """A repository of git and DVC with a stage for each folder, which moves it to data/."""
    (folder / "data").mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / CONFIG).parent.mkdir()
    shutil.copy(CONFIG, folder / CONFIG)
    (folder / TABLE).write_text("picture\n")
    stages = {
        f"stage{path.name}": {
            "cmd": f"mv {path.relative_to(folder)} data/{path.name}",
            "deps": [TABLE],
            "outs": [f"data/{path.name}"],
        }
        for path in made
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    dvc(folder, "remote", "add", "-d", "beside", str(folder.parent / f"{folder.name}.remote"))
    for setting in settings:
        dvc(folder, "config", *setting.split("=", 1))


def dvc(folder: Path, *command: str) -> tuple[float, float]:
    """Run DVC, with its database of hashes beside the repository; the seconds that it took, and those of processors."""
    environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(folder.parent / "site")}
    started, before = time.perf_counter(), os.times()
    subprocess.run(["dvc", *command], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


def measured(folder: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """The cost of each piece of DVC's work, in the order of a project's life."""
    yield BOOKKEEPING, dvc(folder, "repro")
    yield NOTHING, dvc(folder, "repro")
    yield STATUS, dvc(folder, "status")
    yield PUSH, dvc(folder, "push")
    for lost in (".dvc/cache", "data"):
        shutil.rmtree(folder / lost)
    yield PULL, dvc(folder, "pull")


def main() -> None:
    """Print a row of a Markdown table for each piece of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=70_000)
    parser.add_argument("--folders", type=int, default=3)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        many, few = Path(name, "many"), Path(name, "few")
        files = list(make_files(many / "made", arguments.count, arguments.folders))
        archives = list(make_archives(few / "made", many / "made"))
        for way, made in ((many, files), (few, archives)):
            repository(way, made, arguments.set)
            for work, (seconds, cpu) in measured(way):
                results.setdefault(work, {})[way.name] = seconds, cpu
                print(f"{way.name} files: {work} {seconds:.1f} s, {cpu:.1f} s of processors", flush=True)
    print(f"\n{arguments.count:,} files in {arguments.folders} folders, against a file for each folder; seconds\n")
    print("| work | many files | few files | ratio |\n| --- | --- | --- | --- |")
    for work, row in results.items():
        (many_seconds, _), (few_seconds, _) = row["many"], row["few"]
        print(f"| {work} | {many_seconds:.1f} | {few_seconds:.1f} | {many_seconds / few_seconds:.1f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
