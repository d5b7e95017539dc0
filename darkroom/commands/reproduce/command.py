"""Run a commit again in a new clone, and compare every output.

It is run with the pictures that lie here now. The clone has caches of its own, so that nothing is taken from earlier
runs but downloads that lie outside the project, of Keras and TensorFlow Datasets. The certificate is a JSON file: the
commit, whether all outputs are the same bytes, each difference with what may explain it (other pictures, packages, kind
of CPU, number of threads), the environment, and the time that it took. With the certificate of another machine, the
environments of both are compared, too.

Reads   the commit, data/incoming, data/unlabelled, data/weights, download.path
Writes  certificate.json (or --certificate FILE)
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.commands.reproduce import environment, outputs
from darkroom.core.errors import UserError
from darkroom.core.files import link_or_copy, read_json, write_json
from darkroom.core.folders import files_below
from darkroom.core.paths import INCOMING, PARAMS, WEIGHTS
from darkroom.core.terminal import clock
from darkroom.pipeline import params
from darkroom.pipeline.git import git

LOCK, PACKAGES = Path("dvc.lock"), Path("requirements.lock")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "revision": {"nargs": "?", "default": "HEAD", "metavar": "REV", "help": "a commit, tag or branch; default: HEAD"},
    "--certificate": {
        "type": Path,
        "default": Path("certificate.json"),
        "metavar": "FILE",
        "help": "default: certificate.json",
    },
    "--against": {"type": Path, "metavar": "FILE", "help": "another certificate, whose environment is compared"},
    "--keep": {"action": "store_true", "help": "keep the clone, to look at what differs"},
}


def main(revision: str, certificate: Path, against: Path | None, keep: bool) -> None:
    """Clone, run, compare, and write the certificate.

    Raises:
        UserError: there is no such commit, its run fails, or an output differs.
    """
    commit = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not commit:
        raise UserError(f"{revision} is no commit here: name a commit, tag or branch.")
    recorded = git("show", f"{commit}:{LOCK}")
    if not recorded:
        raise UserError(f"{revision} has no {LOCK}: run `dvc repro` and commit it.")
    other = read_json(against, environment=dict) if against else None
    folder = Path(tempfile.mkdtemp(prefix="darkroom-reproduce-"))
    try:
        place = clone(commit, folder)
        used = run(place)
        content = certify(commit, recorded, place, other) | {"compute": used}
    finally:
        if keep:
            print(f"The clone is in {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    write_json(certificate, content)
    print(_text(content, certificate))
    if not content["reproduced"]:
        raise UserError(f"{revision} was not reproduced: see {certificate}.")


def clone(commit: str, folder: Path) -> Path:
    """A clone at a commit below a folder, with the pictures and weights that lie here and are not in git.

    Raises:
        UserError: git fails.
    """
    here = params.check(params.load()).download
    sources = [Path(here.path), Path(here.unlabelled), INCOMING, WEIGHTS]
    # Deep enough for paths that lead out of the project.
    depth = max(path.parts.count("..") for path in sources)
    target = folder.joinpath(*["x"] * depth, "project")
    for words in (("clone", "-q", "--no-checkout", ".", str(target)), ("-C", str(target), "checkout", "-q", commit)):
        done = subprocess.run(["git", *words], check=False, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"git {words[0]} fails: {' '.join(done.stderr.split())}")
    download = params.check(params.load(target / PARAMS)).download
    for path in dict.fromkeys((Path(download.path), Path(download.unlabelled), INCOMING, WEIGHTS)):
        for file in () if path.is_absolute() else files_below(path) if path.is_dir() else filter(Path.is_file, [path]):
            if not (copy := target / file).exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(file, copy)
    # A cache that is shared with other projects would have the outputs.
    (target / ".dvc/config.local").write_text("[cache]\n    dir = cache\n", encoding="utf-8")
    return target


def run(folder: Path) -> dict[str, float]:
    """Run the pipeline there; return the seconds that it took, and those of all processors.

    Raises:
        UserError: it fails.
    """
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}  # it has its own
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", "--force"], check=False, cwd=folder, env=variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise UserError("the pipeline of this commit fails: see above.")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.monotonic() - started, 1), "cpu_seconds": round(cpu, 1)}


def certify(commit: str, recorded: str, place: Path, other: dict[str, Any] | None) -> dict[str, Any]:
    """The certificate, but for the time."""
    repeated = (place / LOCK).read_text(encoding="utf-8")
    caches = (Path(".dvc/cache"), place / ".dvc/cache")
    found = list(outputs.differences(recorded, repeated, "outs", caches))
    here = environment.describe()
    return {
        "commit": commit,
        "reproduced": not found,
        "outputs": outputs.count(recorded),
        "differences": [item._asdict() for item in found],
        "causes": list(_causes(recorded, repeated, caches, here, place, other)),
        "environment": here,
    }


def _causes(
    recorded: str,
    repeated: str,
    caches: tuple[Path, Path],
    here: dict[str, Any],
    place: Path,
    other: dict[str, Any] | None,
) -> Iterator[str]:
    """Whatever is different besides the outputs, whether it explains a difference or not."""
    for item in outputs.differences(recorded, repeated, "deps", caches):
        yield f"{item.path} of stage {item.stage} is not what the commit was run with"
    yield from (
        f"the params of stage {name} are not those of the run" for name in outputs.params_differ(recorded, repeated)
    )
    if (place / PACKAGES).is_file():
        yield from environment.unpinned(here, (place / PACKAGES).read_text(encoding="utf-8"))
    if other:
        yield from environment.changes(here, other["environment"])


def _text(content: dict[str, Any], certificate: Path) -> str:
    used, differences = content["compute"], content["differences"]
    what = f"{content['outputs']} outputs of {content['commit'][:10]}"
    took = f"({clock(used['seconds'])}; {used['cpu_seconds']:,.0f} s of CPU time)"
    lines = [f"{len(differences)} of {what} differ {took}:" if differences else f"all {what} are the same bytes {took}"]
    for item in differences:
        lines.append(f"  {item['path']} of stage {item['stage']}")
        lines += [f"    {name}" for name in item["files"][: outputs.SHOWN]]
    if content["causes"]:
        lines += ["What else differs from the recorded run:", *(f"  {cause}" for cause in content["causes"])]
    return "\n".join([*lines, f"The certificate is {certificate}."])
