"""The architecture: which room may import which, what a stage depends on, how long a file may be, what is light."""

import ast
import functools
import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from darkroom.__main__ import COMMANDS, summary
from darkroom.core.hashing import PACKAGE, WITHOUT_EFFECT, code_files
from darkroom.core.yaml import read_yaml
from darkroom.pipeline.params import STAGES
from tests.helpers.project import ROOT

# The rooms from the lowest to the highest: each imports only itself and those in the lines above it.
ROOMS = [
    ("core",),
    ("images",),
    ("drawing",),
    ("backbones",),
    ("augment",),
    ("models",),
    ("inference",),
    ("download", "split", "extract", "train", "evaluate", "export"),
    ("cluster",),
    ("pipeline",),
    ("tracking",),
    ("commands",),
]
BELOW = {room: set(chain(*ROOMS[:level])) for level, rooms in enumerate(ROOMS) for room in rooms}
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "pandas", "mlflow", "optuna", "ray"}

LIBRARY = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "stages").glob("*.py"))


def name_of(path):
    """A module's name: darkroom.core.files."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path, whole=True):
    """The modules of this project that a file imports, with their lines; or only those that importing it imports."""
    for statement in walk(parsed(path), whole):
        if isinstance(statement, ast.ImportFrom):
            yield from ((f"{statement.module}.{alias.name}", statement) for alias in statement.names)
        elif isinstance(statement, ast.Import):
            yield from ((alias.name, statement) for alias in statement.names)


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def walk(tree, whole):
    """The nodes of a tree; unless the whole is wanted, without functions and blocks for type checkers."""
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        if whole or not lazy:
            yield node
            yield from walk(node, whole)


def room_of(module):
    """The room of a module: `core` of darkroom.core.files.sha256."""
    return module.split(".")[1]


def code_folders(stage):
    """The folders of the library that a stage's script imports, directly or not."""
    rooms = {room_of(name) for name, _ in imports(ROOT / f"stages/{stage}.py") if name.startswith("darkroom.")}
    folders = {path.relative_to(PACKAGE).parts[0] for path in code_files(*rooms)}
    return {f"darkroom/{folder}" for folder in folders - {"__init__.py"}}


def test_every_folder_of_the_library_is_a_room():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(BELOW)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_what_is_below_it(room):
    for path in (PACKAGE / room).rglob("*.py"):
        for name, _ in imports(path):
            top, *rest = name.split(".")
            assert top not in ("stages", "tests", "benchmarks"), f"{path} imports {name}"
            assert top != "darkroom" or rest[0] in BELOW[room] | {room}, f"{path} imports {name}"


def test_scripts_import_no_commands_and_no_scripts():
    for path in SCRIPTS:
        for name, _ in imports(path):
            assert not name.startswith(("stages", "darkroom.commands", "tests")), f"{path} imports {name}"


def test_imports_have_one_style():
    """`from darkroom.<room>.<module> import name` or `from darkroom.<room> import module`: code_files reads them."""
    for path in [*LIBRARY, *SCRIPTS]:
        for name, statement in imports(path):
            if isinstance(statement, ast.ImportFrom):
                assert statement.level == 0, f"{path}: relative import"
                assert statement.module != "darkroom", f"{path} imports {name}"
            else:
                assert not name.startswith("darkroom"), f"{path} imports {name}"


def test_no_module_imports_itself_in_a_circle():
    modules = {name_of(path): path for path in LIBRARY}
    graph = {}
    for name, path in modules.items():
        needed = [(imported, imported.rpartition(".")[0]) for imported, _ in imports(path, whole=False)]
        graph[name] = {module for pair in needed for module in pair if module in modules and module != name}
        graph[name].discard(name.rpartition(".")[0])  # its package, which Python has begun to import before it
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for needed in sorted(graph[module]):
                visit(needed)
            done.add(path.pop())

    for module in graph:
        visit(module)


def test_only_the_program_and_registries_import_by_name():
    """Everything else is found by reading the imports. YAML has one reader, in core."""
    for path in LIBRARY:
        names = {name for name, _ in imports(path)}
        registry = path.name in ("__init__.py", "__main__.py")
        assert registry or not names & {"importlib", "importlib.import_module", "importlib.util"}, path
        assert "yaml" not in names, path
        assert "__import__(" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_script_and_the_rooms_it_imports(stage):
    deps = read_yaml(ROOT / "dvc.yaml")["stages"][stage]["deps"]
    code = [name for name in deps if name.startswith(("stages", "darkroom"))]
    assert code[0] == f"stages/{stage}.py"
    assert set(code[1:]) == code_folders(stage)
    assert len(set(deps)) == len(deps)
    assert not any(room in str(deps) for room in WITHOUT_EFFECT)


def test_there_are_seven_scripts():
    assert {path.stem for path in SCRIPTS} == set(STAGES) == set(read_yaml(ROOT / "dvc.yaml")["stages"])
    assert {path.name for path in (ROOT / "stages").iterdir()} - {"__pycache__"} == {path.name for path in SCRIPTS}


@pytest.mark.parametrize(
    ("paths", "limit"),
    [(SCRIPTS, 150), (LIBRARY, 250), ([ROOT / "dvc.yaml"], 140)],
    ids=["scripts", "library", "graph"],
)
def test_files_are_short(paths, limit):
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length >= limit} == {}


HELP = """
import contextlib, io, json, runpy, sys
from darkroom.__main__ import COMMANDS, main

def output(call):
    stream = io.StringIO()
    try:
        with contextlib.redirect_stdout(stream):
            call()
    except SystemExit as end:
        return end.code, stream.getvalue()

texts = {}
for stage in sys.argv[1:]:
    sys.argv = ["x", "--help"]
    texts[f"stages.{stage}"] = output(lambda: runpy.run_module(f"stages.{stage}", run_name="__main__", alter_sys=True))
for name in COMMANDS:
    texts[name] = output(lambda: main([name, "--help"]))
texts["darkroom"] = output(lambda: main(["--help"]))
print(json.dumps({"texts": texts, "modules": [name for name in sys.modules if "." not in name]}))
"""


@pytest.fixture(scope="module")
def help_texts():
    """Exit code and text of --help, of every stage and command, and what was imported for all of them together."""
    command = [sys.executable, "-c", HELP, *STAGES]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    content = json.loads(result.stdout)
    return content["texts"], set(content["modules"])


def test_help_needs_no_large_library(help_texts):
    assert help_texts[1] & HEAVY == set()


def test_help_explains_every_stage_and_command(help_texts):
    texts = help_texts[0]
    assert set(texts) == {"darkroom", *(f"stages.{stage}" for stage in STAGES), *COMMANDS}
    for name, (code, text) in texts.items():
        assert code == 0, name
        if name != "darkroom":
            assert "Reads  " in text, name
        if name.startswith("stages."):
            assert text.startswith(f"usage: python -m {name} [-h]\n")
            assert "Writes  " in text
            assert "Params  " in text
        elif name != "darkroom":
            assert text.startswith(f"usage: python -m darkroom {name} [-h]")
            assert summary(name) in text


def test_params_core_and_pipeline_import_no_large_library():
    light = [*PACKAGE.glob("*/params.py"), *PACKAGE.glob("core/*.py"), *PACKAGE.glob("pipeline/*.py")]
    names = sorted({name_of(path) for path in light})
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) & HEAVY == set()


def test_the_overview_has_one_line_for_each_command(help_texts):
    text = help_texts[0]["darkroom"][1]
    for name in COMMANDS:
        line = summary(name)
        assert len(line) <= 64, f"{name}: {line}"
        assert line.endswith("."), f"{name}: {line}"
        assert f"{name} {line}" in " ".join(text.split())
        assert Path(PACKAGE, *COMMANDS[name].split(".")[1:]).with_suffix(".py").is_file()
