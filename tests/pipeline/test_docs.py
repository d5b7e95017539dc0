"""The documents: the site builds without a broken link or anchor, and settings in them are valid."""

import re
import shutil

import jsonschema
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from darkroom.commands.schema import schema
from darkroom.core.yaml import parse_yaml, read_yaml
from darkroom.pipeline import params
from tests.helpers.documents import PAGES
from tests.helpers.project import ROOT

README = ROOT / "README.md"
STAND_INS = {"sha256: …": f"sha256: {64 * 'a'}", "…": "x", "FOLDER": "folder"}
SECTIONS = "|".join(params.Params.model_fields)


@pytest.fixture
def build_site(tmp_path, monkeypatch):
    """Builds the site of a folder's documents, and returns the folder that has it."""
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")

    def make(root=ROOT):
        monkeypatch.chdir(root)
        build(load_config(str(root / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site")))
        return tmp_path / "site"

    return make


def test_the_site_builds_strictly_and_loads_nothing_from_other_hosts(build_site):
    site = build_site()
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert len(pages) > 25
    for name, text in pages.items():
        assert not re.findall(r'(?:src|rel="stylesheet" href)="?(?:https?:)?//', text), name
    for key in ("head.type", "table.group", "grad_cam"):
        assert f"<code>{key}</code>" in pages["params/index.html"]
    assert "<code>null</code></td>\n</tr>" not in pages["params/index.html"]  # every key has an example
    # Links of the README, which is no page of the site.
    for target, anchor in re.findall(r"\]\(([^)#\s:]+)(#[^)\s]+)?\)", README.read_text()):
        assert (ROOT / target).exists(), target
        page = {"benchmarks/README.md": "benchmarks"}.get(target, target.removeprefix("docs/").removesuffix(".md"))
        assert not anchor or f'id="{anchor[1:]}"' in pages[f"{page}/index.html"], anchor


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](data.md#nowhere)", "![x](nowhere.png)"])
def test_a_broken_link_or_anchor_ends_the_build(link, build_site, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "docs", copy / "docs")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "params.yaml", "server.ini", "dvc.yaml", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("recipes", "benchmarks", "notebooks", "stages", "data", "darkroom"):
        (copy / name).symlink_to(ROOT / name)
    build_site(copy)
    with (copy / "docs/data.md").open("a") as stream:
        stream.write(f"\n{link}\n")
    with pytest.raises((Abort, ValueError)):
        build_site(copy)


def test_the_readme_is_a_page_or_two():
    assert len(README.read_text().splitlines()) <= 150


def settings():
    """Settings in the documents: blocks of YAML, and inline code that begins with a section."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield from ((page, found) for found in re.findall(r"```yaml\n(.*?)```", text, re.S))
        yield from ((page, found) for found in re.findall(rf"`((?:{SECTIONS}): \{{.*?)`", text))


def test_examples_of_params_are_valid():
    jsonschema.validate(read_yaml(ROOT / "docs/site/examples.yaml"), schema((ROOT / "params.yaml").read_text()))


def test_settings_in_the_documents_are_valid():
    found = list(settings())
    assert len(found) > 30
    for page, text in found:
        for placeholder, value in STAND_INS.items():
            text = text.replace(placeholder, value)
        content = parse_yaml(text, page.name)
        if content.keys() <= params.Params.model_fields.keys():
            params.check(content)
