"""Check the tests: put small faults into the code, one at a time; each must make a test fail.

    python -m tests.mutations            # all of them, each against the tests that should notice it
    python -m tests.mutations 3 17       # some of them
    python -m tests.mutations --all 3    # against everything that `make test` runs

The faults go into a copy of the project; the working tree is not touched. Exit code 1 if a fault goes unnoticed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.helpers.project import ROOT, commit


class Mutation(NamedTuple):
    """A fault: `old` in `file`, which occurs once, becomes `new`; `tests` are those that should notice."""

    fault: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "the classes are numbered backwards",
        "darkroom/models/inputs.py",
        "enumerate(classes)}",
        "enumerate(reversed(classes))}",
        "tests/train/test_batches.py tests/models tests/evaluate/test_evaluate.py",
    ),
    Mutation(
        "pixels are BGR",
        "darkroom/images/decode.py",
        'np.asarray(image.convert("RGB"))',
        'np.asarray(image.convert("RGB"))[..., ::-1]',
        "tests/images",
    ),
    Mutation(
        "EXIF orientation is ignored",
        "darkroom/images/decode.py",
        "image = ImageOps.exif_transpose(opened)",
        "image = opened",
        "tests/images tests/download/test_validation.py",
    ),
    Mutation(
        "16-bit grey is scaled wrongly",
        "darkroom/images/decode.py",
        "// 257",
        "// 256",
        "tests/images tests/download/test_validation.py",
    ),
    Mutation(
        "transparency becomes black",
        "darkroom/images/decode.py",
        'Image.new("RGBA", image.size, "white")',
        'Image.new("RGBA", image.size, "black")',
        "tests/images tests/download/test_validation.py",
    ),
    Mutation(
        "hidden files count as pictures",
        "darkroom/images/folders.py",
        'if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)',
        "if path.is_file()",
        "tests/images tests/split",
    ),
    Mutation(
        "pictures that were left out are trained on",
        "darkroom/images/folders.py",
        " if picture.path not in left_out)",
        ")",
        "tests/images tests/extract/test_extract.py tests/augment/test_augment.py",
    ),
    Mutation(
        "a head is trained on the validation pictures",
        "darkroom/train/features.py",
        'for part in ("train", "val"))',
        'for part in ("val", "val"))',
        "tests/train/test_features.py",
    ),
    Mutation(
        "every split is evaluated on train",
        "darkroom/models/classifier.py",
        "return Features(FEATURES, part, self.spec.layers)",
        'return Features(FEATURES, "train", self.spec.layers)',
        "tests/models/test_classifier.py",
    ),
    Mutation(
        "cached features get into another order than the pictures",
        "darkroom/extract/feature_cache.py",
        "result[numbers] = features[places]",
        "result[numbers] = features[np.sort(places)]",
        "tests/extract/test_feature_cache.py tests/extract/test_extract.py",
    ),
    Mutation(
        "the feature cache's key lacks the image size",
        "stages/extract.py",
        "spec.model_dump(exclude_unset=True)",
        'spec.model_dump(exclude_unset=True, exclude={"image_size"})',
        "tests/extract",
    ),
    Mutation(
        "the feature cache's key lacks the code",
        "stages/extract.py",
        '{"code": [code_digest("extract"), sha256(Path(__file__))]}',
        "{}",
        "tests/extract",
    ),
    Mutation(
        "the digest of code omits imported rooms",
        "darkroom/core/hashing.py",
        "pending += [",
        "_ = [",
        "tests/core",
    ),
    Mutation(
        "the exported model multiplies by the temperature",
        "darkroom/models/classifier.py",
        "Rescaling(1 / self.spec.temperature,",
        "Rescaling(self.spec.temperature,",
        "tests/export/test_export.py tests/inference/test_formats.py",
    ),
    Mutation(
        "the evaluation ignores the temperature",
        "darkroom/evaluate/predictions.py",
        "for temperature in (1, model.spec.temperature)",
        "for temperature in (1, 1)",
        "tests/evaluate/test_evaluate.py",
    ),
    Mutation(
        "calibration is certain of its labels",
        "darkroom/train/calibration.py",
        "doubt = 1 / (count + 2)",
        "doubt = 0.0",
        "tests/train/test_calibration.py",
    ),
    Mutation(
        "the worst epoch is kept",
        "darkroom/train/history.py",
        "np.argmin(",
        "np.argmax(",
        "tests/train/test_history.py",
    ),
    Mutation(
        "patience is an epoch longer",
        "darkroom/train/history.py",
        "waited >= descent.patience",
        "waited > descent.patience",
        "tests/train/test_history.py tests/train/test_loop.py",
    ),
    Mutation(
        "the best epoch's weights are not saved",
        "darkroom/train/checkpoints.py",
        "if self.keep_all or best == last:",
        "if self.keep_all:",
        "tests/train/test_checkpoints.py tests/train/test_loop.py",
    ),
    Mutation(
        "a resumed training starts with a new optimizer",
        "darkroom/train/checkpoints.py",
        '_assign(model.optimizer.variables, arrays, "optimizer")',
        "pass",
        "tests/train/test_checkpoints.py tests/train/test_loop.py tests/faults",
    ),
    Mutation(
        "checkpoints are not synced to the disk",
        "darkroom/train/checkpoints.py",
        "os.fsync(stream.fileno())",
        "pass",
        "tests/train/test_checkpoints.py",
    ),
    Mutation(
        "files are written in place",
        "darkroom/core/files.py",
        'partial = target.parent / f".{target.name}.{os.getpid()}.partial"',
        "partial = target",
        "tests/core",
    ),
    Mutation(
        "what a killed stage left gets into its folder",
        "darkroom/core/files.py",
        "rmtree(partial, ignore_errors=True)\n    partial.mkdir(parents=True)",
        "rmtree(partial / 'none', ignore_errors=True)\n    partial.mkdir(parents=True, exist_ok=True)",
        "tests/core",
    ),
    Mutation(
        "the last pictures of a pass are never trained on",
        "darkroom/train/batches.py",
        "-(-len(inputs) // self.size)",
        "len(inputs) // self.size",
        "tests/train/test_batches.py",
    ),
    Mutation(
        "pictures and labels of a batch are in different orders",
        "darkroom/train/batches.py",
        "self.inputs.rows(rows), self.one_hot[rows]",
        "self.inputs.rows(rows), self.one_hot[np.sort(rows)]",
        "tests/train/test_batches.py",
    ),
    Mutation(
        "every pass has the same order",
        "darkroom/train/batches.py",
        'seeds.stream(self.seed, "shuffle", number)',
        'seeds.stream(self.seed, "shuffle")',
        "tests/train/test_batches.py",
    ),
    Mutation(
        "class weights are the counts of the classes",
        "darkroom/train/params.py",
        "(len(numbers) / (classes * np.bincount(numbers, minlength=classes)))",
        "(np.bincount(numbers, minlength=classes))",
        "tests/train/test_batches.py tests/train/test_params.py",
    ),
    Mutation(
        "an ordered split holds out one picture more",
        "darkroom/split/methods.py",
        "round(share * len(names))",
        "round(share * len(names)) + 1",
        "tests/split",
    ),
    Mutation(
        "a stable split ignores the seed",
        "darkroom/split/methods.py",
        'f"{seed}/{key}"',
        'f"{key}"',
        "tests/split",
    ),
    Mutation(
        "leaks are not noticed",
        "darkroom/split/groups.py",
        "if len(picture_in) > 1:",
        "if len(picture_in) > 3:",
        "tests/split",
    ),
    Mutation(
        "near-duplicates stay on both sides of a split",
        "darkroom/split/groups.py",
        "if len(set(parts)) == 1:",
        "if len(set(parts)) >= 1:",
        "tests/split",
    ),
    Mutation(
        "a class gets one picture more than the limit",
        "darkroom/download/selection.py",
        "ranked[limit if limit else len(ranked) :]",
        "ranked[limit + 1 if limit else len(ranked) :]",
        "tests/download",
    ),
    Mutation(
        "a picture with two labels is kept",
        "darkroom/download/selection.py",
        "if other.label != item.label), None)",
        "if other.label == item.label and other is not item), None)",
        "tests/download",
    ),
    Mutation(
        "every other flip is missing",
        "darkroom/augment/transforms.py",
        "-1 if flip and number < 0.5 else 1",
        "-1 if flip and number < 0.0 else 1",
        "tests/augment/test_transforms.py",
    ),
    Mutation(
        "augmentation overshoots its target",
        "darkroom/augment/new_pictures.py",
        "range(target - len(paths))",
        "range(target - len(paths) + 1)",
        "tests/augment/test_new_pictures.py tests/augment/test_augment.py",
    ),
    Mutation(
        "random streams ignore their names",
        "darkroom/core/seeds.py",
        "map(str, (seed, *names))",
        "map(str, (seed,))",
        "tests/core",
    ),
    Mutation(
        "pictures are resized off by half a pixel",
        "darkroom/backbones/keras_apps.py",
        "+ 0.5) * scale - 0.5",
        "+ 0.5) * scale",
        "tests/backbones/test_keras_apps.py",
    ),
    Mutation(
        "the network's pre-processing is skipped",
        "darkroom/backbones/keras_apps.py",
        'return module.preprocess_input(pixels, data_format="channels_last")',
        "return pixels",
        "tests/backbones/test_keras_apps.py tests/backbones/test_weights.py",
    ),
    Mutation(
        "Wilson's interval is one of 90 %",
        "darkroom/evaluate/statistics.py",
        'proportion_ci(0.95, method="wilson")',
        'proportion_ci(0.90, method="wilson")',
        "tests/evaluate/test_statistics.py",
    ),
    Mutation(
        "bootstrap intervals are ones of 90 %",
        "darkroom/evaluate/bootstrap.py",
        "(0.025, 0.975)",
        "(0.05, 0.95)",
        "tests/evaluate/test_bootstrap.py",
    ),
    Mutation(
        "top-k accuracy counts k + 1 classes",
        "darkroom/evaluate/metrics.py",
        "(rank < k).mean()",
        "(rank <= k).mean()",
        "tests/evaluate/test_metrics.py",
    ),
    Mutation(
        "Grad-CAM shows what speaks against a class, too",
        "darkroom/evaluate/grad_cam.py",
        "np.maximum(maps @ slopes.mean(axis=(0, 1)), 0)",
        "np.abs(maps @ slopes.mean(axis=(0, 1)))",
        "tests/evaluate/test_grad_cam.py",
    ),
    Mutation(
        "an export that disagrees with Keras is accepted",
        "darkroom/export/parity.py",
        "if not (same_label >= limits.same_label and near >= limits.near):",
        "if False:",
        "tests/export/test_parity.py tests/export/test_export.py",
    ),
    Mutation(
        "an export's class names are in another order",
        "darkroom/inference/formats/onnx.py",
        "json.dumps(conversion.classes,",
        "json.dumps(conversion.classes[::-1],",
        "tests/inference/test_formats.py",
    ),
    Mutation(
        "predictions of a batch are in another order",
        "darkroom/inference/predictor.py",
        "for item, result in zip(batch, results, strict=True):",
        "for item, result in zip(batch[::-1], results, strict=True):",
        "tests/inference/test_predictor.py",
    ),
    Mutation(
        "errors end with exit code 0",
        "darkroom/pipeline/script.py",
        'sys.exit(f"{name}: {error}")',
        "sys.exit(0)",
        "tests/pipeline/test_params.py tests/commands/test_main.py tests/commands/test_recipe.py",
    ),
    Mutation(
        "unknown keys in params.yaml are accepted",
        "darkroom/core/params.py",
        'extra="forbid"',
        'extra="ignore"',
        "tests/core tests/pipeline/test_params.py",
    ),
    Mutation(
        "settings of an earlier recipe stay",
        "darkroom/pipeline/recipes.py",
        "overlay(content | owned, recipe)",
        "overlay(content, recipe)",
        "tests/pipeline/test_recipes.py tests/commands/test_recipe.py",
    ),
    Mutation(
        "a worse candidate is promoted",
        "darkroom/commands/promote/command.py",
        "if log_loss.value > 0:",
        "if log_loss.value < 0:",
        "tests/commands/test_promote.py",
    ),
    Mutation(
        "an evaluation is logged twice",
        "darkroom/tracking/runs.py",
        "if held != digest:",
        "if True:",
        "tests/tracking/test_pipeline_log.py tests/tracking/test_runs.py",
    ),
    Mutation(
        "the evaluation of another model is logged",
        "darkroom/tracking/pipeline_log.py",
        "return bool(model == model_sha256(paths.MODELS))",
        "return True",
        "tests/tracking/test_pipeline_log.py tests/tracking/test_runs.py tests/commands/test_track.py",
    ),
    Mutation(
        "a stage's code is missing in dvc.yaml",
        "dvc.yaml",
        "      - darkroom/inference\n",
        "",
        "tests/pipeline/test_layout.py",
    ),
    Mutation(
        "votes of neighbours ignore the class weights",
        "darkroom/models/heads/knn.py",
        "[data.y] * data.weights",
        "[data.y]",
        "tests/models/test_heads.py",
    ),
]


def copied(folder: Path) -> Path:
    """A copy of the project's files, without what git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    commit(folder, "as it is")
    return folder


def noticed(mutation: Mutation, folder: Path, everything: bool) -> tuple[bool, str]:
    """Whether a test fails with the fault in the copy at `folder`, and the line that says which."""
    path = folder / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file} holds {mutation.old!r} {text.count(mutation.old)} times, not once.")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    tests = ["-n", "2"] if everything else mutation.tests.split()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text, encoding="utf-8")
    failures = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if result.returncode not in (0, 1):  # usage, no tests, or a crash: nothing was tested
        failures = []
        print(result.stdout[-2000:], result.stderr[-2000:])
    return bool(failures), failures[0] if failures else "not noticed"


def main() -> int:
    """Run the faults that the command line names, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="of the faults to try; all without one")
    parser.add_argument("--all", action="store_true", help="run all tests of `make test` against each")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="darkroom-mutations-") as folder:
        project = copied(Path(folder))
        for number, mutation in enumerate(MUTATIONS, start=1):
            if arguments.numbers and number not in arguments.numbers:
                continue
            result, line = noticed(mutation, project, arguments.all)
            missed += not result
            print(f"{number:2} {'ok    ' if result else 'MISSED'} {mutation.fault}: {line}", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
