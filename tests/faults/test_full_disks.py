"""A full disk ends every stage and command with one sentence; with space again, each finishes with the same bytes."""

import pytest

from tests.faults.test_kills import ORDER, remove_outputs
from tests.helpers.disks import LARGE, disk
from tests.helpers.kills import Workplace, differences, outputs
from tests.helpers.project import copy_project, run, set_params
from tests.helpers.stores import new_store
from tests.helpers.tiny import MODES

# A share of what the stage writes; what is left over after the last one is for MLflow's record of it.
SHARES = {
    "download": (0.02, 0.5),
    "split": (0.02, 0.5),
    "augment": (0.5,),
    "extract": (0.02, 0.4, 0.95),
    "train": (0.02, 0.5),
    "evaluate": (0.3, 0.9),
    "export": (0.02, 0.6),
}
PICTURES = "data/raw/train/cat"
PLACES = ("data", "models", "exports", "reports", ".cache", "recipes", "mlflow.db", "TMPDIR")
COMMANDS = {
    "predict": ("bash", "-c", f"python -m darkroom predict {PICTURES} --format csv > predictions.csv"),
    "sweep": ("python", "-m", "darkroom", "sweep", "mine", "--trials", "2", "--heads", "knn"),
    "track": ("python", "-m", "darkroom", "track"),
    "recipe": ("python", "-m", "darkroom", "recipe", "fashion_cnn"),
}


def faults_of(done, name, folder):
    """What is wrong with a command's end: it has one sentence that names the lack of space and the place."""
    last = done.output.strip().splitlines()[-1] if done.output.strip() else ""
    expected = {
        "exit code": done.code == 1,
        "traceback": "Traceback" not in done.output,
        "name": last.startswith(f"{name}: "),
        "space": "space" in last,
        "place": any(entry in last for entry in (str(folder), *PLACES)),
    }
    return [key for key, good in expected.items() if not good]


@pytest.fixture
def small(finished, tmp_path):
    """A disk, and on it a tiny project in which all stages have run."""
    with disk(tmp_path / "disk") as mounted:
        copy_project(finished, mounted.folder / "darkroom")
        yield mounted


def place_of(mounted, tmp_path, command):
    return Workplace(mounted.folder / "darkroom", tmp_path / "spare", command)


def starve(small, place, name, shares):
    """Run a command undisturbed; then with a share of the space that it takes, and again with enough."""
    before = small.used()
    first = place.run()
    assert first.code == 0, first.output
    expected, growth, faults = outputs(place.folder), small.used() - before, []
    for share in shares:
        place.restore()
        small.resize(int(share * growth))
        broken = place.run()
        small.resize(LARGE)
        case = f"{name}: {int(share * growth):,} bytes free of {growth:,}"
        print(f"{case}: {broken.code}, {broken.output.strip().splitlines()[-1:]}", flush=True)
        # Where only MLflow's record did not fit, the stage has ended well, with a line.
        if broken.code or differences(expected, outputs(place.folder)):
            faults += [f"{case}: {fault}\n{broken.output}" for fault in faults_of(broken, name, place.folder)]
        done = place.run()
        if done.code or (wrong := differences(expected, outputs(place.folder))):
            faults.append(f"{case}, then enough: {done.code}, {wrong}\n{done.output}")
    print(*faults, sep="\n")
    assert not faults


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_on_a_full_disk(stage, small, tmp_path):
    remove_outputs(small.folder / "darkroom", stage)
    new_store(small.folder / "darkroom/mlflow.db")
    starve(small, place_of(small, tmp_path, ("python", "-m", f"stages.{stage}")), stage, SHARES[stage])


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("mode", ["classical", "fine_tune", "scratch"])
def test_another_training_on_a_full_disk(mode, small, tmp_path):
    folder = small.folder / "darkroom"
    set_params(folder, MODES[mode])
    if mode != "classical":
        run("python", "-m", "stages.extract", cwd=folder)
    remove_outputs(folder, "train")
    starve(small, place_of(small, tmp_path, ("python", "-m", "stages.train")), "train", (0.5,))
