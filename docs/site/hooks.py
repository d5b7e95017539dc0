"""Pages of the site that are not in docs/: a reference of all params, and texts that lie beside their code.

Links are those that work in the repository; here they become links between pages, or plain text where the target is no
page.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from darkroom.commands.schema import schema
from darkroom.core.params import flat
from darkroom.core.yaml import read_yaml

ROOT = Path(__file__).parents[2]
# Texts outside docs/, and their pages.
PAGES = {
    "recipes/README.md": "results.md",
    "benchmarks/README.md": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINKED = PAGES | {"README.md": "index.md", "params.yaml": "params.md"}
EXAMPLES = ROOT / "docs/site/examples.yaml"
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=linked((ROOT / source).read_text("utf-8"), source)))
    files.append(File.generated(config, "params.md", content=reference()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Change links of the pages in docs/."""
    return markdown if page.file.generated_by else linked(markdown, f"docs/{page.file.src_uri}")


def linked(text: str, source: str) -> str:
    """A text whose links are those of the site; `source` is its path in the repository."""
    folder = posixpath.dirname(source)

    def link(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:") or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if not (ROOT / path).exists():
            raise ValueError(f"{source} links to {path}, which does not exist")
        if path in LINKED:
            return f"[{label}]({LINKED[path]}{anchor})"
        return f"[{label}]({path.removeprefix('docs/')}{anchor})" if path.startswith("docs/") else label

    def image(match: re.Match[str]) -> str:
        return f"![{match[1]}]({posixpath.normpath(posixpath.join(folder, match[2])).removeprefix('docs/')})"

    return IMAGE.sub(image, LINK.sub(link, text))


def reference() -> str:
    """All params as a page: for each key what is allowed, the default, what it does, and an example."""
    sections = schema((ROOT / "params.yaml").read_text("utf-8"))["properties"]
    files = [EXAMPLES, *sorted(ROOT.glob("recipes/*.yaml"), reverse=True)]
    examples = [flat(read_yaml(path)) | _mappings(read_yaml(path)) for path in files]
    lines = [
        "# All params",
        "",
        "The keys of `params.yaml`. Those of `augment` are also the keys of `online` in `train`.",
    ]
    for name, section in sections.items():
        lines += ["", f"## {name}", "", "| key | allowed | default | what it is | example |", "| --- " * 5 + "|"]
        for key, part in _keys(section):
            default, text = part.get("default"), part.get("description", "")
            found = [
                values[f"{name}.{key}"] for values in examples if values.get(f"{name}.{key}") not in (None, default)
            ]
            example = next(iter(found), _other(part))
            cells = (f"`{key}`", allowed(part), _code(default), _escaped(text), _code(example))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _mappings(content: Any, prefix: str = "") -> dict[str, Any]:
    """All mappings in a content, by their keys."""
    found = {f"{prefix}{key}": value for key, value in content.items() if isinstance(value, dict)}
    return found | {key: value for name, inner in found.items() for key, value in _mappings(inner, f"{name}.").items()}


def _keys(part: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key below a section with its schema; keys without a description have that of the mapping."""
    for key, inner in part["properties"].items():
        if "properties" in inner and key != "online":
            yield from _keys(inner, f"{name}{key}.")
        elif key == "online":
            yield f"{name}{key}", inner | {"default": {"preset": "none"}}
        else:
            yield f"{name}{key}", {"description": part.get("description", "")} | inner


def _other(part: dict[str, Any]) -> Any:
    """A value that is allowed and not the default."""
    options = [part, *part.get("anyOf", ())]
    if any(option.get("type") == "boolean" for option in options):
        return not part.get("default")
    values = [value for option in options for value in (*option.get("enum", ()), *filter(None, [option.get("const")]))]
    return next((value for value in values if value != part.get("default")), None)


def allowed(part: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if "anyOf" in part:
        return " or ".join(allowed(option) for option in part["anyOf"])
    if "enum" in part or "const" in part:
        return ", ".join(_code(value) for value in part.get("enum", [part.get("const")]))
    kind = {"boolean": "`true`, `false`", "null": "`null`", "string": "text", "object": "keys", "array": "list"}
    if part.get("type") == "array" and "items" in part:
        return f"list of {allowed(part['items'])}"
    if part.get("type") not in ("integer", "number"):
        return kind.get(str(part.get("type")), "")
    words = {"minimum": "{} or more", "exclusiveMinimum": "more than {}"}
    words |= {"maximum": "up to {}", "exclusiveMaximum": "less than {}"}
    limits = (text.format(_number(part[key])) for key, text in words.items() if key in part)
    return ", ".join([part["type"], *limits])


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}`"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
