"""Keras' own format, which can be trained further; loading it takes Darkroom's code, which defines some layers."""

import json
import re
import shutil
import zipfile
from pathlib import Path

from darkroom.inference.formats.base import (
    CLASSES,
    Conversion,
    Exported,
    Format,
    import_tensorflow,
    register,
    zip_entry,
)


def load(path: Path) -> Exported:
    """Load a .keras file."""
    import_tensorflow()
    import keras

    from darkroom.models import keras_layers  # noqa: F401 - registers Darkroom's layers with Keras

    with zipfile.ZipFile(path) as archive:
        classes = json.loads(archive.read(CLASSES))
    model = keras.models.load_model(path, compile=False)
    return Exported(classes, lambda pixels: keras.ops.convert_to_numpy(model(pixels, training=False)))


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
    )
)
