"""Run every picture once through a frozen, pretrained network and save the outputs of selected layers.

Only pictures of train may be computed in reduced precision: exports compute in float32, and so are the features of val
and test, so that the figures are those of what ships.

Reads   data/split, data/augmented, reports/augment.json, data/weights
Writes  data/features/: {train,val,test}.csv (sha256, path, label of each row), {train,val,test}.<layer>.npy,
        backbone.weights.h5 (of the whole network); reports/extract.json
Params  base.seed, extract
"""

from pathlib import Path
from typing import Any

from darkroom.core import precision, runtime
from darkroom.core.files import whole_folder, write_csv, write_json
from darkroom.core.hashing import arrays_sha256, code_digest, sha256
from darkroom.core.model_spec import BACKBONE, BackboneSpec
from darkroom.core.parallel import unlike_cpus
from darkroom.core.params import Base
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.core.precision import EXACT
from darkroom.core.row_cache import RowCache
from darkroom.core.weights_file import save_weights
from darkroom.extract.fill import Pass, fill
from darkroom.extract.forward import require_room
from darkroom.extract.params import Params
from darkroom.images.folders import PARTS, listed
from darkroom.pipeline.script import run
from darkroom.tracking.store import download


def main(base: Base, params: Params) -> None:
    """Extract the features that are not cached, and write all of them in canonical order."""
    with whole_folder(FEATURES) as folder:
        (folder / ".keep").touch()  # DVC warns of an empty output at every step
        spec, reason = extract(params, base.seed, folder) if params.backbone else (BackboneSpec(backbone=None), {})
    write_json(EXTRACT_REPORT, spec.model_dump(mode="json", by_alias=True, exclude_unset=True) | reason)
    print(f"extract: {spec.features or 0} features a picture in {FEATURES}")


def extract(params: Params, seed: int, folder: Path) -> tuple[BackboneSpec, dict[str, str]]:
    """Write the features of all splits to `folder`.

    Returns:
        Their specification, and the reason for the precision of train.

    Raises:
        UserError: a network or layer is unknown, weights cannot be downloaded, or features exceed float16's range.
    """
    runtime.prepare(seed)
    import keras
    import tensorflow as tf

    from darkroom.backbones import keras_apps, weights

    choice = precision.choose(params.precision)
    name, size = str(params.backbone), (params.image_size[0], params.image_size[1])
    backbone = keras_apps.network(name, size)
    weights.load(backbone, name, params.weights, download)
    exact = keras_apps.feature_extractor(backbone, name, size, params.layers, params.pooling, params.mirror)
    spec = BackboneSpec(
        backbone=name,
        weights=params.weights,
        weights_sha256=arrays_sha256(exact.get_weights()),
        image_size=size,
        layers=tuple(params.layers),
        pooling=params.pooling,
        mirror=params.mirror,
        precision=choice.policy,
        keras=keras.__version__,
        tensorflow=tf.__version__,
    )
    policies = {part: choice.policy if part == "train" else EXACT for part in PARTS}
    caches = {policy: RowCache("features", cache_key(spec, policy)) for policy in dict.fromkeys(policies.values())}
    rows = {part: [(sha256(path), str(path), label) for path, label in listed(part)] for part in PARTS}
    missing = {
        policy: cache.missing([digest for part in PARTS if policies[part] == policy for digest, *_ in rows[part]])
        for policy, cache in caches.items()
    }
    count = sum(int(exact.output[layer].shape[1]) for layer in params.layers)
    require_room(backbone, params, sum(map(len, missing.values())), sum(map(len, rows.values())), count)
    save_weights(backbone, folder / BACKBONE)
    paths = {digest: path for part in PARTS for digest, path, _ in rows[part]}
    for policy, digests in missing.items():
        forward = Pass(spec, policy, folder / BACKBONE, seed)
        fill(caches[policy], forward, {digest: paths[digest] for digest in digests}, exact if policy == EXACT else None)
    for part, policy in policies.items():
        write_csv(folder / f"{part}.csv", ("sha256", "path", "label"), rows[part])
        for layer in params.layers:
            caches[policy].write([digest for digest, *_ in rows[part]], layer, folder / f"{part}.{layer}.npy")
    reason = choice.reason + ("; some machines of the cluster round differently" if unlike_cpus() else "")
    return spec.model_copy(update={"features": count}), {"precision_reason": reason}


def cache_key(spec: BackboneSpec, policy: str) -> dict[str, Any]:
    """Everything but the picture that changes its features: the specification, and all code behind them."""
    settings = spec.model_dump(exclude_unset=True) | {"precision": policy}
    return settings | {"code": [code_digest("extract"), sha256(Path(__file__))]}


if __name__ == "__main__":
    run("extract", main)
