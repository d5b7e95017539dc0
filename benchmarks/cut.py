"""Fine-tuning above the split point against training the whole network, frozen below it: seconds an epoch.

    python -m benchmarks.cut [PICTURES] [--rounds 3] [--json FILE]

Takes `train.fine_tune` from params.yaml and the features that `extract` wrote for it, and trains both ways on the same
pictures (256 by default), at each precision. Each round is an epoch. Nothing is written but FILE.
"""

import keras
import numpy as np

from benchmarks import rounds
from benchmarks.rounds import Figures, Way
from darkroom.backbones import keras_apps
from darkroom.core import runtime
from darkroom.core.model_spec import BackboneSpec
from darkroom.core.paths import EXTRACT_REPORT, FEATURES
from darkroom.images.folders import listed
from darkroom.models import head_model, split_point
from darkroom.models.inputs import Features, Held, Inputs, Pictures
from darkroom.pipeline import params
from darkroom.train import fine_tuning
from darkroom.train.batches import Batches
from darkroom.train.params import Params


def main() -> None:
    """Print a row of a Markdown table for each precision."""
    parser = rounds.parser(__doc__)
    parser.add_argument("pictures", type=int, nargs="?", default=256)
    arguments = parser.parse_args()
    runtime.prepare(42)
    backbone = BackboneSpec.load(EXTRACT_REPORT)
    section = params.current().train
    features = Features(FEATURES, "train", backbone.layers)
    chosen = np.unique(np.linspace(0, len(features) - 1, arguments.pictures).astype(int))
    every = listed("train")
    inputs: dict[str, Inputs] = {
        "whole": Pictures([every[row] for row in chosen], backbone.size),
        "cut": Held(features.rows(chosen), features, chosen),
    }
    rounds.header("precision", "pictures", "whole, s", "cut, s", "ratio")
    everything: dict[str, Figures] = {}
    for precision in ("float32", "mixed_bfloat16"):
        ways = {kind: epoch(kind == "cut", rows, precision, backbone, section) for kind, rows in inputs.items()}
        everything[precision] = rounds.measure(ways, arguments.rounds)  # TensorFlow traces in the warm-up
        whole, cut = rounds.medians(everything[precision]).values()
        rounds.row(precision, len(chosen), f"{whole:.1f}", f"{cut:.1f}", f"{whole / cut:.1f}")
    rounds.save(arguments.json, everything)


def epoch(is_cut: bool, inputs: Inputs, precision: str, backbone: BackboneSpec, section: Params) -> Way:
    """Train for an epoch: on features from the split point on, or on pictures with the whole network."""
    name = str(backbone.name)
    whole = keras_apps.network(name, backbone.size, precision)
    plan = fine_tuning.plan(whole, section.fine_tune, backbone)
    for layer in whole.layers:
        layer.trainable = layer.name in plan.trained
    start = plan.below if is_cut else None
    begin, maps = split_point.entry(whole, name, start)
    pooled = split_point.features(whole, start, plan.top, section.fine_tune.pooling, maps, plan.below)
    classes = sorted(set(inputs.labels))
    head = head_model.build(section.head.model_dump(by_alias=True), pooled.shape[1], len(classes))
    model = keras.Model(begin, head(pooled))
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    batches = Batches(inputs, classes, section.model_copy(update={"batch_size": section.fine_tune.batch_size}), seed=42)
    stream, steps = batches.stream(0), batches.in_a_pass
    return lambda: model.fit(stream, steps_per_epoch=steps, shuffle=False, verbose=0)


if __name__ == "__main__":
    main()
