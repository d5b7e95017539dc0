"""A full disk ends every stage and command with one sentence; with space again, each finishes with the same bytes."""

import pytest

from tests.faults.test_kills import SAFELY
from tests.helpers.disks import LARGE, disk
from tests.helpers.kills import Workplace, differences, outputs
from tests.helpers.project import copy_project, run, set_params
from tests.helpers.stores import new_store
from tests.helpers.tiny import MODES, ORDER, remove_outputs

# A share of what the stage writes; what is left over after the last one is for MLflow's record of it.
SHARES = {
    "download": (0.02, 0.5),
    "split": (0.02, 0.5),
    "augment": (0.5,),
    "extract": (0.02, 0.4, 0.95),
    "train": (0.02, 0.5),
    "evaluate": (0.3, 0.9),
    "export": (0.0005, 0.6),  # most of what is written is for MLflow
}
PICTURES = "data/raw/train/cat"
PLACES = ("data", "models", "exports", "reports", ".cache", "recipes", "mlflow.db", "TMPDIR")
COMMANDS = {
    "predict": ("bash", "-c", f"python -m darkroom predict {PICTURES} --format csv > predictions.csv"),
    "sweep": ("python", "-m", "darkroom", "sweep", "mine", "--trials", "2", "--heads", "knn"),
    "track": ("python", "-m", "darkroom", "track"),
}


def faults_of(done, name, folder):
    """What is wrong with a command's end: it has one sentence that names the lack of space and the place."""
    last = done.output.strip().splitlines()[-1] if done.output.strip() else ""
    expected = {
        "exit code": done.code == 1,
        "traceback": "Traceback" not in done.output,
        "name": last.startswith(f"{name}: "),
        "space": any(word in last for word in ("no space left", "on the disk that holds", "no more files")),
        "place": any(entry in last for entry in (str(folder), *PLACES)),
    }
    return [key for key, good in expected.items() if not good]


@pytest.fixture
def small(finished, tmp_path):
    """A disk, and on it a tiny project in which all stages have run."""
    with disk(tmp_path / "disk") as mounted:
        copy_project(finished, mounted.folder / "darkroom")
        yield mounted


def place_of(mounted, tmp_path, command, folder=None):
    return Workplace(folder or mounted.folder / "darkroom", tmp_path / "spare", command)


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


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_a_full_disk(name, small, tmp_path):
    new_store(small.folder / "darkroom/mlflow.db")
    starve(small, place_of(small, tmp_path, COMMANDS[name]), name, (0.0,))


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("command", [("dvc", "repro"), ("python", "-m", "darkroom", "recipe", "fashion_cnn")])
def test_dvc_on_a_full_disk_finishes_with_space(command, cheap, tmp_path):
    with disk(tmp_path / "disk") as mounted:
        place = place_of(mounted, tmp_path, command, copy_project(cheap, mounted.folder / "darkroom"))
        set_params(place.folder, {"download.limit_per_class": 7})
        first, before = place.run(), mounted.used()
        assert first.code == 0, first.output
        expected = outputs(place.folder)
        for free in (0, 40_000):
            place.restore()
            set_params(place.folder, {"download.limit_per_class": 7})
            mounted.resize(free)
            broken = place.run()
            print(f"{command}: {free} bytes free, then {before}: {broken.code}", broken.output.splitlines()[-1:])
            mounted.resize(LARGE)
            assert broken.code
            assert "Traceback" not in broken.output
            assert place.run(command=SAFELY if command[0] == "dvc" else None).code == 0
            assert differences(expected, outputs(place.folder)) == []


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize("stage", ["download", "split", "augment", "extract"])
def test_a_disk_on_which_no_more_files_can_be_made(stage, small, tmp_path):
    remove_outputs(small.folder / "darkroom", stage)
    place = place_of(small, tmp_path, ("python", "-m", f"stages.{stage}"))
    assert place.run().code == 0
    expected = outputs(place.folder)
    place.restore()
    small.limit_files(4)
    broken = place.run()
    small.limit_files(0)
    assert faults_of(broken, stage, place.folder) == [], broken.output
    assert place.run().code == 0
    assert differences(expected, outputs(place.folder)) == []


@pytest.mark.full
@pytest.mark.table
@pytest.mark.parametrize(
    ("limit", "stage"),
    [("-n 6", "download"), ("-f 1", "split"), ("-n 14", "train"), ("-v 400000", "augment"), ("-f 2", "download")],
)
def test_a_limit_of_the_shell_is_named(limit, stage, done, tmp_path):
    place = Workplace(done, tmp_path / "spare", ("bash", "-c", f"ulimit {limit}; exec python -m stages.{stage}"))
    expected = outputs(done)
    remove_outputs(done, stage)
    broken = place.run()
    print(limit, stage, broken.code, broken.output.strip().splitlines()[-1:], flush=True)
    assert "Traceback" not in broken.output, broken.output
    assert broken.code == 1, broken.output
    for following in ORDER[ORDER.index(stage) :]:
        assert place.run(command=("python", "-m", f"stages.{following}")).code == 0
    assert differences(expected, outputs(done)) == []
