"""The schema of params.yaml that editors read: it is up to date, explains every key, and agrees with the program."""

import functools
import json

import hypothesis.strategies as st
import jsonschema
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from darkroom.augment.params import Changes
from darkroom.commands.schema import comments, schema
from darkroom.core.params import flat, overlay
from darkroom.core.yaml import read_yaml
from darkroom.pipeline import params
from darkroom.pipeline.recipes import nested
from tests.helpers.project import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
SCHEMA = schema(TEXT)
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def keys(part, name=""):
    """Every key of a schema that is no mapping itself, such as `train.epochs`, with its schema."""
    for key, inner in part.get("properties", {}).items():
        path = f"{name}.{key}".lstrip(".")
        if "properties" in inner:
            yield from keys(inner, path)
        else:
            yield path, inner


def test_the_file_is_that_of_these_models_and_comments():
    assert json.loads((ROOT / "docs/params.schema.json").read_text(encoding="utf-8")) == SCHEMA
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *RECIPES], ids=lambda path: path.stem)
def test_files_name_the_schema_in_their_first_line_and_satisfy_it(path):
    head = "# yaml-language-server: $schema="
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith(head)
    assert (path.parent / first.removeprefix(head)).samefile(ROOT / "docs/params.schema.json")
    VALIDATOR.validate(read_yaml(path))


def test_every_key_has_the_default_of_the_program_and_a_description():
    found = dict(keys(SCHEMA))
    defaults = flat(params.complete({}))
    assert {name: part["default"] for name, part in found.items() if "default" in part} == {
        name: value for name, value in defaults.items() if name in found
    }
    assert set(defaults) == set(found)
    described = {name.rpartition(".")[0] for name in found if name.startswith(("download.csv.", "download.table."))}
    for name, part in found.items():
        assert part.get("description") or name.rpartition(".")[0] in described, name


def test_comments_belong_to_their_keys():
    assert comments("a: # x\n  b: '#no'   # of b\n  c:\n    d: 1 # of d\n# alone\ne: 2 # of e # too\n") == {
        "a": "x", "a.b": "of b", "a.c.d": "of d", "e": "of e # too",
    }  # fmt: skip
    online = SCHEMA["properties"]["train"]["properties"]["scratch"]["properties"]["online"]["properties"]
    assert set(online) == set(Changes.model_fields)
    assert online["hue"]["description"] == SCHEMA["properties"]["augment"]["properties"]["hue"]["description"]


def agree(content):
    """Whether schema and program agree; only the models' own rules, which are functions, are unknown to the schema."""
    try:
        params.Params.model_validate({key: {} if value is None else value for key, value in content.items()})
        kinds = set()
    except ValidationError as error:
        kinds = {item["type"] for item in error.errors()}
    return kinds == {"value_error"} or VALIDATOR.is_valid(content) == (not kinds)


def content(*values):
    """A params.yaml of keys, such as `train.epochs`, and their values."""
    return functools.reduce(overlay, (nested(*value) for value in values))


def limits(part):
    """Values at the limits of a schema and just beyond them, and all those that it lists."""
    for key, value in part.items() if isinstance(part, dict) else ():
        if "inimum" in key or "aximum" in key:
            yield from (value - 1, value, value + 1, value * (1 - 1e-9), value * (1 + 1e-9))
        elif key in ("minItems", "maxItems"):
            yield from ([value] * length for length in (max(0, value - 1), value, value + 1))
        elif key in ("enum", "const"):
            yield from ([value] if key == "const" else value)
        elif key == "items":
            yield from ([limit] * length for limit in limits(value) for length in (1, 2, 3))
    for inner in part.values() if isinstance(part, dict) else part:
        if isinstance(inner, dict | list):
            yield from limits(inner)


KEYS = dict(keys(SCHEMA))
ANY = [
    None,
    True,
    1,
    0,
    -1,
    0.5,
    10**12,
    "",
    "x",
    "max",
    [],
    ["x"],
    [1],
    [0.5, 0.25, 0.25],
    {},
    {"x": 1},
    {"train": "x"},
]


def whole(value):
    """Whether it is a float without a fraction, which JSON, unlike YAML, cannot tell from an integer."""
    return any(map(whole, value)) if isinstance(value, list) else isinstance(value, float) and value % 1 == 0


@pytest.mark.parametrize("name", KEYS)
def test_schema_and_program_agree_on_every_key(name):
    for value in (*ANY, *limits(KEYS[name])):
        assert whole(value) or agree(content((name, value))), value
    assert not VALIDATOR.is_valid(content((f"{name}s", 1)))
    assert agree(content((f"{name}s", 1)))


VALUES = st.sampled_from(ANY) | st.text(max_size=3) | st.floats(-2, 2).filter(lambda number: number % 1)
CHANGES = st.sampled_from(sorted(KEYS)).flatmap(
    lambda name: st.tuples(
        st.sampled_from([name, name.rpartition(".")[0]]),
        VALUES | st.sampled_from([value for value in (*limits(KEYS[name]), None) if not whole(value)]),
    )
)


@given(st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=3000, deadline=None)
def test_schema_and_program_agree_on_files(changes):
    assert agree(content(*changes))
