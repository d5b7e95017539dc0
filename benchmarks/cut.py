"""Fine-tuning above the split point against training the whole network, frozen below it: seconds an epoch.

    python -m benchmarks.cut [PICTURES]

Takes `train.fine_tune` from params.yaml and the features that `extract` wrote for it, and trains both ways on the same
pictures (256 by default), at each precision. Nothing is written.
"""

import sys
import time

import keras
import numpy as np

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
    runtime.prepare(42)
    backbone = BackboneSpec.model_validate_json(EXTRACT_REPORT.read_bytes())
    section = params.current().train
    name, size = str(backbone.name), backbone.size
    features = Features(FEATURES, "train", backbone.layers)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    chosen = np.unique(np.linspace(0, len(features) - 1, count).astype(int))
    every = listed("train")
    rows = {
        "cut": Held(features.rows(chosen), features, chosen),
        "whole": Pictures([every[row] for row in chosen], size),
    }
    print("| precision | pictures | whole, s | cut, s | ratio |\n| --- | --- | --- | --- | --- |")
    for precision in ("float32", "mixed_bfloat16"):
        seconds = {}
        for kind, inputs in rows.items():
            whole = keras_apps.network(name, size, precision)
            plan = fine_tuning.plan(whole, section.fine_tune, backbone)
            for layer in whole.layers:
                layer.trainable = layer.name in plan.trained
            start = plan.below if kind == "cut" else None
            begin, maps = split_point.entry(whole, name, start)
            pooled = split_point.features(whole, start, plan.top, section.fine_tune.pooling, maps, plan.below)
            seconds[kind] = epoch(begin, pooled, inputs, section)
        print(
            f"| {precision} | {len(chosen)} | {seconds['whole']:.1f} | {seconds['cut']:.1f} | "
            f"{seconds['whole'] / seconds['cut']:.1f} |",
            flush=True,
        )


def epoch(begin: keras.KerasTensor, pooled: keras.KerasTensor, inputs: Inputs, section: Params) -> float:
    """Seconds of the second epoch; in the first TensorFlow traces."""
    classes = sorted(set(inputs.labels))
    head = head_model.build(section.head.model_dump(by_alias=True), pooled.shape[1], len(classes))
    model = keras.Model(begin, head(pooled))
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    batches = Batches(inputs, classes, section.model_copy(update={"batch_size": section.fine_tune.batch_size}), seed=42)
    started: list[float] = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: started.append(time.perf_counter()))
    steps = batches.in_a_pass
    model.fit(batches.stream(0), steps_per_epoch=steps, epochs=2, shuffle=False, verbose=0, callbacks=[note])
    return time.perf_counter() - started[1]


if __name__ == "__main__":
    main()
