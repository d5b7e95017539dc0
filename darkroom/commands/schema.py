"""Print the JSON Schema of params.yaml, for editors.

Editors complete, explain and check params.yaml and recipes with it. Types, allowed values and defaults are those of the
typed models, and descriptions are the comments of params.yaml. Some rules do not fit into a schema, such as shares that
must add up to 1 and keys that exclude each other: only the program checks them.

Reads   params.yaml
"""

import json
import re
from typing import Any

from darkroom.core.paths import PARAMS
from darkroom.pipeline.params import Params

DRAFT = "http://json-schema.org/draft-07/schema#"  # which all editors read
LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):.*?(?:\s#\s(?P<comment>.*))?$")
ONLINE = re.compile(r"train\.(scratch|fine_tune)\.online(?=\.)")  # takes the keys of augment


def main() -> None:
    """Print the schema, as docs/params.schema.json has it."""
    print(json.dumps(schema(PARAMS.read_text(encoding="utf-8")), indent=1, ensure_ascii=False))


def schema(text: str) -> dict[str, Any]:
    """The schema; `text` is that of a params.yaml with a comment for each key."""
    whole = Params.model_json_schema()
    result = _inlined(whole, whole.pop("$defs"), comments(text))
    for section in result["properties"].values():
        section["type"] = ["object", "null"]  # an empty section has the defaults
    return {"$schema": DRAFT, "title": "params.yaml", **result}


def comments(text: str) -> dict[str, str]:
    """The comment of each key, such as `train.head.type`, that has one in its line."""
    result: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for match in filter(None, map(LINE.match, text.splitlines())):
        indent = len(match["indent"])
        parents = [(level, key) for level, key in parents if level < indent] + [(indent, match["key"])]
        if match["comment"]:
            result[".".join(key for _, key in parents)] = match["comment"]
    return result


def _inlined(
    part: dict[str, Any], definitions: dict[str, Any], texts: dict[str, str], name: str = ""
) -> dict[str, Any]:
    """A part of pydantic's schema, with descriptions and without references, next to which draft 7 ignores all else."""
    if reference := part.get("$ref"):
        part = definitions[reference.rsplit("/", 1)[1]] | part
    result = {key: part[key] for key in part if key not in ("$ref", "title", "description")}
    for key, inner in result.items():
        if key == "anyOf":
            result[key] = [_inlined(option, definitions, texts, name) for option in inner]
        elif key == "items":
            result[key] = _inlined(inner, definitions, texts, name)
        elif key == "properties":
            result[key] = {
                child: _described(
                    _inlined(inner[child], definitions, texts, f"{name}.{child}"), texts, f"{name}.{child}"
                )
                for child in inner
            }
    if "properties" in result:
        result.pop("default", None)  # each key has its own
    return result


def _described(part: dict[str, Any], texts: dict[str, str], name: str) -> dict[str, Any]:
    text = texts.get(ONLINE.sub("augment", name.lstrip(".")))
    return part | {"description": text} if text else part
