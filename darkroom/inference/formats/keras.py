"""Keras' own format, which can be trained further; loading it takes Darkroom's code, which defines some layers."""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darkroom.core import runtime
from darkroom.inference.formats.base import (
    CLASSES,
    Conversion,
    Exported,
    Format,
    register,
    zip_entry,
)

CONFIG = "config.json"
LARGEST = 2**26  # bytes of a JSON file in a .keras file
# All that our own exports consist of, besides Darkroom's layers. Other classes of Keras can read files, import modules
# or hold Python code.
KNOWN = {
    "keras": "DTypePolicy Functional Sequential",
    "keras.initializers": "Constant GlorotUniform HeNormal Ones RandomNormal VarianceScaling Zeros",
    "keras.layers": """Activation Add AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense
        DepthwiseConv2D Dropout Flatten GlobalAveragePooling2D GlobalMaxPooling2D Identity InputLayer LayerNormalization
        LeakyReLU MaxPooling2D Multiply Normalization ReLU Rescaling Reshape SeparableConv2D Softmax UnitNormalization
        ZeroPadding2D""",
    "keras.src.applications.convnext": "LayerScale",
    "keras.src.applications.inception_resnet_v2": "CustomScaleLayer",
    "keras.src.models.functional": "Functional",
    "keras.src.ops.numpy": "Add Multiply",
}
ALLOWED = {(module, name) for module, names in KNOWN.items() for name in names.split()}
TENSOR = "__keras_tensor__"


def load(path: Path) -> Exported:
    """Load a .keras file."""
    runtime.import_tensorflow()
    import keras

    from darkroom.models import keras_layers  # noqa: F401 - registers Darkroom's layers with Keras

    with zipfile.ZipFile(path) as archive:
        classes = json.loads(_read(archive, CLASSES))
    model = keras.models.load_model(path, compile=False)
    return Exported(classes, lambda pixels: keras.ops.convert_to_numpy(model(pixels, training=False)))


def danger(path: Path) -> str | None:
    """What a .keras file can do that has classes other than those of our own exports."""
    with zipfile.ZipFile(path) as archive:
        content = json.loads(_read(archive, CONFIG))
    known = ALLOWED | own_layers()
    other = sorted({name for module, name in objects(content) if (module, name) not in known and name != TENSOR})
    if not other:
        return None
    return f"a .keras file with other parts than Darkroom's ({ascii(other[0])[:60]}) can run any program"


def own_layers() -> set[tuple[str, str]]:
    """Module and name of Darkroom's layers."""
    runtime.import_tensorflow()
    from darkroom.models.keras_layers import LAYERS

    return {(layer.__module__, layer.__name__) for layer in LAYERS}


def objects(content: Any) -> Iterator[tuple[object, str]]:
    """Module and name of every object that Keras would build from its JSON."""
    pending = [content]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item.get("module"), str(item["class_name"])
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST:
        raise ValueError(f"{name} in it is too large")
    return archive.read(name)


def write(conversion: Conversion, target: Path) -> None:
    """Write a .keras file with the class names in it, and without Keras' date and memory addresses."""
    dated = target.with_name(f"{target.stem}.dated.keras")
    conversion.whole.save(dated)
    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(target, "w") as archive:
        for name in sorted(source.namelist()):
            with source.open(name) as member, archive.open(zip_entry(name), "w", force_zip64=True) as stream:
                if name.endswith(".json"):
                    stream.write(_reproducible(member.read().decode()).encode())
                else:
                    shutil.copyfileobj(member, stream)
        archive.writestr(zip_entry(CLASSES), json.dumps(conversion.classes, ensure_ascii=False))
    dated.unlink()


def _reproducible(text: str) -> str:
    """Keras' JSON without the date, and with shared layers numbered instead of identified by their address."""
    content = json.loads(text)
    content.pop("date_saved", None)
    numbers: dict[str, int] = {}
    return re.sub(
        r'("shared_object_id": )(\d+)',
        lambda match: f"{match[1]}{numbers.setdefault(match[2], len(numbers))}",
        json.dumps(content),
    )


register(
    Format(
        "keras",
        "model.keras",
        load,
        write,
        packages=("tensorflow", "keras", "psutil"),
        order=1,
        preference=4,
        unlimited=True,
        danger=danger,
    )
)
