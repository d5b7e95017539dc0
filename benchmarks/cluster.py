"""What Ray costs on one machine: the stages that look at every picture, by both engines.

    python -m benchmarks.cluster FOLDER [--rounds 3] [--json FILE]

FOLDER has a folder of pictures for each class. Each stage is a process, as DVC runs it, with an empty cache; Ray's
cluster starts and ends with it. The outputs are compared byte for byte.
"""

import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import rounds
from darkroom.core.folders import files_below
from darkroom.core.hashing import folder_sha256

STAGES = {"download": "data/raw", "split": "data/split", "augment": "data/augmented", "extract": "data/features"}
ENGINES = ("local", "ray")
SETTINGS = {
    "download": {"source": "folder", "limit_per_class": None, "near_duplicates": 0.9},
    "extract": {"image_size": [96, 96], "layers": ["block5_pool"], "precision": "float32"},
}


def project(folder: Path, pictures: Path, engine: str) -> Path:
    """A clone of this project with the pictures and an engine."""
    subprocess.run(["git", "clone", "-q", "--shared", ".", folder], check=True)
    shutil.copytree(pictures, folder / "data/incoming", dirs_exist_ok=True)
    count = max(len(list(files_below(label))) for label in pictures.iterdir())
    content = SETTINGS | {"augment": {"target": count}, "compute": {"engine": engine}}
    (folder / "params.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return folder


def stage(folder: Path, name: str) -> None:
    """Run a stage."""
    command = [sys.executable, "-m", f"stages.{name}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Measure the stages in turn, and print a table."""
    parser = rounds.parser(__doc__)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, dict[str, list[float]]] = {name: {engine: [] for engine in ENGINES} for name in STAGES}
    with tempfile.TemporaryDirectory(prefix="darkroom-cluster-") as name:
        places = {engine: project(Path(name) / engine, arguments.folder, engine) for engine in ENGINES}
        for _ in range(arguments.rounds):
            for place in places.values():
                shutil.rmtree(place / ".cache/features", ignore_errors=True)
            for work, output in STAGES.items():
                for engine, place in places.items():
                    figures[work][engine].append(rounds.seconds(functools.partial(stage, place, work)))
                if len({folder_sha256(place / output) for place in places.values()}) > 1:
                    raise SystemExit(f"The engines differ in {output}.")
    rounds.header("stage", *(f"{engine}, seconds" for engine in ENGINES), "ratio")
    for work in STAGES:
        local, ray = (statistics.median(figures[work][engine]) for engine in ENGINES)
        rounds.row(work, f"{local:.1f}", f"{ray:.1f}", f"{local / ray:.2f}")
    rounds.save(arguments.json, figures)


if __name__ == "__main__":
    main()
