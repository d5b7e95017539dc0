"""Names of tags on MLflow runs, and the tags that record a run's origin."""

import os
from pathlib import Path

from darkroom.core.yaml import read_yaml
from darkroom.pipeline.git import git
from darkroom.tracking import run_text

MODEL = "model_sha256"  # the model that was trained
WORKSPACE = "workspace"  # the folder it was trained in
KIND = "kind"  # TRAINING, SUPPLEMENT, or that of a run above others
TRAINING = "training"
SUPPLEMENT = "evaluation"  # a child of a training's run that holds another evaluation or export of its model
PARENT = "mlflow.parentRunId"
SPLIT_MD5 = "data.split.md5"
EVALUATION = "evaluation_sha256"  # the evaluation that the run holds
EXPORT = "export_sha256"  # the export that the run holds
EXPORTED_WITH = "exported_with_evaluation_sha256"  # the evaluation that lay beside that export
INTENDED = "for_"  # prefix: what the run was created to hold, even if writing it failed


def provenance() -> dict[str, str]:
    """Tags of a new training run: columns, git commit, DVC experiment, workspace, MD5 of each data set in dvc.lock."""
    tags = {KIND: TRAINING, WORKSPACE: str(Path.cwd()), "git_commit": git("rev-parse", "--verify", "HEAD") or "none"}
    tags |= run_text.columns()
    if "DVC_EXP_NAME" in os.environ:
        tags["dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    lock = Path("dvc.lock")
    stages = read_yaml(lock).get("stages", {}) if lock.exists() else {}
    for stage in ("download", "split", "augment", "extract"):
        for out in stages.get(stage, {}).get("outs", []):
            if out["path"].startswith("data/"):
                tags[f"{out['path'].replace('/', '.')}.md5"] = out["md5"]
    return tags
