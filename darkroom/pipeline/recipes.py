"""Recipes: known-good experiments, each a small file of what differs from the defaults.

A recipe owns the sections split, augment, extract and train: keys that it does not name get their defaults, so that
nothing of an earlier recipe is left. If it has a section `download`, it owns that too, except for the keys that locate
the pictures. All other settings are the user's and stay as they are.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.files import whole_file
from darkroom.core.params import difference, overlay
from darkroom.core.paths import PARAMS
from darkroom.core.yaml import parse_yaml
from darkroom.pipeline import params

RECIPES = Path("recipes")
SCHEMA = "# yaml-language-server: $schema=../docs/params.schema.json"  # first line of a recipe, for editors
OWNED = ("split", "augment", "extract", "train")
# Keys of `download` that stay the user's: where the pictures are and how they lie there, and how much may be unpacked.
LOCATION = (
    *("path", "url", "sha256", "data_dir", "manual_dir", "unpacked_gb", "unpacked_files"),
    *("pictures", "layout", "parts", "label_from", "table"),
)


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def listing() -> str:
    """Return a line for each recipe: its name and the first comment of its file that is not for editors."""
    lines = {name: _path(name).read_text(encoding="utf-8").splitlines() for name in names()}
    titles = {name: next((line for line in lines[name] if not line.startswith(SCHEMA)), "") for name in lines}
    return "\n".join(["Recipes, for make recipe NAME=…", *(f"  {name:<24}{line[2:]}" for name, line in titles.items())])


def applied(content: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the content of params.yaml with a recipe applied."""
    defaults = params.complete({})
    owned = {name: defaults[name] for name in OWNED}
    if "download" in recipe:
        location = {key: value for key, value in content.get("download", {}).items() if key in LOCATION}
        owned["download"] = defaults["download"] | location
    return overlay(content | owned, recipe)


def merged(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """Return params.yaml with a recipe applied, and settings KEY=VALUE on top of it.

    Raises:
        UserError: one sentence on what is wrong in params.yaml, in the recipe, or in the settings.
    """
    path = _path(name)
    if not path.is_file():
        raise UserError(f"there is no recipe {name}. {listing()}")
    content = params.load()
    params.check(content)
    content = _checked(applied(content, params.load(path)), str(path))
    return _checked(functools.reduce(overlay, map(parsed, settings), content), " ".join(settings))


def parsed(setting: str) -> dict[str, Any]:
    """Parse a setting: `train.epochs=5` becomes `{"train": {"epochs": 5}}`.

    Raises:
        UserError: it is not KEY=VALUE, or the value is not valid YAML.
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"{setting} is not a setting: write KEY=VALUE, such as base.seed=7.")
    return nested(key, parse_yaml(text, f"the value of {setting}"))


def nested(key: str, value: Any) -> dict[str, Any]:
    """The content that has only one value: key `train.epochs` and 5 make `{"train": {"epochs": 5}}`."""
    return functools.reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)


def from_content(content: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe that reproduces the content's data, features and training."""
    complete = params.complete(content)
    owned = {name: complete[name] for name in ("download", *OWNED)}
    owned["download"] = {key: value for key, value in owned["download"].items() if key not in LOCATION}
    return {"download": {}} | difference(owned, params.complete({}))


def deviations(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in which complete content differs from a recipe."""
    return difference(content, params.complete(applied(content, params.load(_path(name)))))


def write_params(content: dict[str, Any]) -> None:
    """Put settings into params.yaml, which keeps its comments and the layout of everything that does not change.

    Keys that the file does not have are added only if they differ from the default.
    """
    yaml = _round_trip()
    document = yaml.load(PARAMS.read_text(encoding="utf-8"))
    _update(document, content, params.complete({}))
    with whole_file(PARAMS) as partial:
        yaml.dump(document, partial)


def dump(recipe: dict[str, Any], stream: Any) -> None:
    """Write a recipe's settings as YAML."""
    _round_trip().dump(recipe, stream)


def _path(name: str) -> Path:
    return RECIPES / f"{name}.yaml"


def _checked(content: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the content if it is valid; errors name `source` instead of params.yaml."""
    try:
        params.check(content)
    except UserError as error:
        raise UserError(f"{source}: {str(error).removeprefix(f'{PARAMS}: ')}") from None
    return content


def _round_trip() -> Any:
    """Return a reader and writer that keeps comments; values that it adds are in flow style, `null` is spelled out."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width, yaml.default_flow_style = True, 120, None
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _update(document: dict[str, Any], content: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Change a YAML document in place so that it holds `content`."""
    for key in [key for key in document if key not in content]:
        del document[key]
    for key, value in content.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(document.get(key), dict):
            _update(document[key], value, default if isinstance(default, dict) else {})
        elif key in document:
            if document[key] != value:
                document[key] = value
        elif isinstance(value, dict) and isinstance(default, dict):
            if changed := difference(value, default):
                document[key] = changed
        elif value != default or key not in defaults:
            document[key] = value
