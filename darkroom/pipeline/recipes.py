"""Recipes: known-good experiments, each a small file with what differs from the defaults.

A recipe owns the sections split, augment, extract and train: what it does not name there is the default, so that
nothing of an earlier recipe stays. If it has a section `download`, it owns that too, but for the keys that say where
the pictures lie. All else is the user's and stays as it is.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darkroom.core.errors import UserError
from darkroom.core.files import whole_file
from darkroom.core.params import difference, overlay, parse_yaml
from darkroom.core.paths import PARAMS
from darkroom.pipeline import params

RECIPES = Path("recipes")
OWNED = ("split", "augment", "extract", "train")
# Keys of `download` that stay the user's: where the pictures lie, and how much of an archive may be unpacked.
PLACES = ("path", "url", "sha256", "data_dir", "manual_dir", "unpacked_gb", "unpacked_files")


def names() -> list[str]:
    """All recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def listing() -> str:
    """A line for each recipe: its name, and the first line of its file, which is a comment."""
    lines = {name: _path(name).read_text(encoding="utf-8").partition("\n")[0] for name in names()}
    return "\n".join(["Recipes, for make recipe NAME=…", *(f"  {name:<24}{line[2:]}" for name, line in lines.items())])


def applied(content: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """Content of params.yaml with a recipe on top."""
    defaults = params.complete({})
    owned = {name: defaults[name] for name in OWNED}
    if "download" in recipe:
        places = {key: value for key, value in content.get("download", {}).items() if key in PLACES}
        owned["download"] = defaults["download"] | places
    return overlay(content | owned, recipe)


def merged(name: str, settings: Sequence[str]) -> dict[str, Any]:
    """params.yaml with a recipe on top, and settings KEY=VALUE on top of that.

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


def _checked(content: dict[str, Any], source: str) -> dict[str, Any]:
    try:
        params.check(content)
    except UserError as error:
        raise UserError(f"{source}: {str(error).removeprefix(f'{PARAMS}: ')}") from None
    return content


def parsed(setting: str) -> dict[str, Any]:
    """`train.epochs=5` as `{"train": {"epochs": 5}}`.

    Raises:
        UserError: it is not KEY=VALUE, or the value is not valid YAML.
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise UserError(f"{setting} is no setting: write KEY=VALUE, such as base.seed=7.")
    value = parse_yaml(text, f"the value of {setting}")
    return functools.reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)


def of(content: dict[str, Any]) -> dict[str, Any]:
    """The recipe that leads to the settings of `content` for the data, the features and the training."""
    full = params.complete(content)
    full = {name: full[name] for name in ("download", *OWNED)}
    full["download"] = {key: value for key, value in full["download"].items() if key not in PLACES}
    return {"download": {}} | difference(full, params.complete({}))


def deviations(name: str, content: dict[str, Any]) -> dict[str, Any]:
    """The settings in which complete content differs from a recipe, by their keys."""
    expected = params.complete(applied(content, params.load(_path(name))))
    return difference(content, expected)


def _path(name: str) -> Path:
    return RECIPES / f"{name}.yaml"


def write(content: dict[str, Any]) -> None:
    """Put settings into params.yaml; what stays the same keeps its form, comments included.

    Keys that the file does not have are added only where they are not the default.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width, yaml.default_flow_style = True, 120, None
    _represent_null(yaml)
    now = yaml.load(PARAMS.read_text(encoding="utf-8"))
    _update(now, content, params.complete({}))
    with whole_file(PARAMS) as partial:
        yaml.dump(now, partial)


def dump(recipe: dict[str, Any], stream: Any) -> None:
    """Write a recipe's settings as YAML."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.default_flow_style = 120, None
    _represent_null(yaml)
    yaml.dump(recipe, stream)


def _represent_null(yaml: Any) -> None:
    """`null` where ruamel.yaml would write nothing."""
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )


def _update(now: dict[str, Any], content: dict[str, Any], defaults: dict[str, Any]) -> None:
    for key, value in content.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(now.get(key), dict):
            _update(now[key], value, default if isinstance(default, dict) else {})
        elif key in now:
            if now[key] != value:
                now[key] = value
        elif isinstance(value, dict) and isinstance(default, dict):
            if changed := difference(value, default):
                now[key] = changed
        elif value != default or key not in defaults:
            now[key] = value
