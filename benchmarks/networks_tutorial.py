"""Networks trained as tutorials do it, with plain Keras, for `benchmarks.networks`.

`fashion_cnn` follows TensorFlow's guide to distributed training: tf.data that scales, caches, shuffles and batches, a
`MirroredStrategy`, TensorBoard, and a checkpoint of each epoch. `mini_vggnet` follows a course on computer vision:
pictures as one array of float32 in memory.
"""

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.networks_stage import pictures


def train(network: str, setting: str, epochs: int, count: int | None, scratch: Path) -> tuple[list[float], float]:
    """The time at the end of each epoch, and the accuracy on validation after the last one."""
    keras.utils.set_random_seed(42)
    files = {part: [(str(path), label) for path, label in pictures(part, count)] for part in ("train", "val")}
    classes = sorted({label for _, label in files["train"]})
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    jit = "auto" if setting == "auto" else False
    follow = fashion_cnn if network == "fashion_cnn" else mini_vggnet
    history = follow(files["train"], files["val"], classes, jit, epochs, scratch, clock)
    return ends, float(next(values for name, values in history.items() if name.startswith("val_acc"))[-1])


def fashion_cnn(train: Any, val: Any, classes: list[str], jit: Any, epochs: int, scratch: Path, clock: Any) -> Any:
    """Batches of 64, Adam 1e-4."""
    strategy = tf.distribute.MirroredStrategy()
    size = 64 * strategy.num_replicas_in_sync
    with strategy.scope():
        model = keras.Sequential([keras.Input((28, 28, 1))])
        for filters in (16, 32):
            for _ in range(2):
                model.add(layers.Conv2D(filters, 3, activation="relu"))
                model.add(layers.BatchNormalization())
            model.add(layers.MaxPooling2D())
            model.add(layers.Dropout(0.25))
        model.add(layers.Flatten())
        for units, share in ((512, 0.25), (1024, 0.5)):
            model.add(layers.Dense(units, activation="relu"))
            model.add(layers.Dropout(share))
        model.add(layers.Dense(len(classes)))
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            optimizer=keras.optimizers.Adam(1e-4),
            metrics=["accuracy"],
            jit_compile=jit,
        )

    def data(files: list[tuple[str, str]]) -> tf.data.Dataset:
        paths, labels = zip(*files, strict=True)
        numbers = [classes.index(label) for label in labels]
        rows = tf.data.Dataset.from_tensor_slices((list(paths), numbers))
        return rows.map(read, num_parallel_calls=tf.data.AUTOTUNE).map(scale)

    def read(path: Any, label: Any) -> Any:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        grey = tf.image.rgb_to_grayscale(image)
        return tf.cast(tf.round(tf.image.resize(grey, (28, 28))), tf.uint8), label

    def scale(image: Any, label: Any) -> Any:
        return tf.cast(image, tf.float32) / 255, label

    callbacks = [
        keras.callbacks.TensorBoard(log_dir=str(scratch / "logs")),
        keras.callbacks.ModelCheckpoint(str(scratch / "{epoch}.weights.h5"), save_weights_only=True),
        clock,
    ]
    batches = data(train).cache().shuffle(10_000).batch(size)
    evaluation = data(val).batch(size)
    fitted = model.fit(batches, epochs=epochs, validation_data=evaluation, callbacks=callbacks, verbose=2)
    return fitted.history


def mini_vggnet(train: Any, val: Any, classes: list[str], jit: Any, epochs: int, scratch: Path, clock: Any) -> Any:
    """Batches of 32, Adam 1e-3; the course leaves the optimizer open."""
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (32, 64):
        for _ in range(2):
            model.add(layers.Conv2D(filters, 3, padding="same"))
            model.add(layers.Activation("relu"))
            model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(512))
    model.add(layers.Activation("relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(len(classes), activation="softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"], jit_compile=jit)

    def arrays(files: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        images = [keras.utils.img_to_array(keras.utils.load_img(path, target_size=(32, 32))) for path, _ in files]
        numbers = [classes.index(label) for _, label in files]
        return np.array(images, "float32") / 255, keras.utils.to_categorical(numbers, len(classes))

    best = keras.callbacks.ModelCheckpoint(
        str(scratch / "best.weights.h5"), save_best_only=True, save_weights_only=True
    )
    x, y = arrays(train)
    fitted = model.fit(
        x, y, batch_size=32, epochs=epochs, validation_data=arrays(val), callbacks=[best, clock], verbose=2
    )
    return fitted.history
