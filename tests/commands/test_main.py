"""The program `python -m darkroom`: its commands, their arguments, its exit codes."""

import re
import sys
from types import ModuleType

import pytest

from darkroom import __main__ as program
from darkroom.core.errors import UserError
from tests.helpers.project import ROOT, run


@pytest.fixture
def command(monkeypatch):
    """A command `try` whose work the test sets; the arguments that it got."""
    module, calls = ModuleType("command"), []
    module.ARGUMENTS = {"paths": {"nargs": "+"}, "--top": {"type": int, "default": 3}}
    module.work = lambda: None

    def main(**arguments):
        calls.append(arguments)
        module.work()

    module.main, module.calls = main, calls
    monkeypatch.setitem(sys.modules, "darkroom.commands.command", module)
    monkeypatch.setitem(program.COMMANDS, "try", "darkroom.commands.command")
    return module


def end(*words):
    with pytest.raises(SystemExit) as error:
        program.main(list(words))
    return error.value.code


def fails():
    raise UserError("there is no cake: bake one.")


def interrupted():
    raise KeyboardInterrupt


def test_a_command_gets_its_arguments(command):
    assert end("try", "a", "b", "--top", "5") == 0
    assert end("try", "a") == 0
    assert command.calls == [{"paths": ["a", "b"], "top": 5}, {"paths": ["a"], "top": 3}]


def test_exit_codes(command, capsys):
    command.work = fails
    assert end("try", "a") == "try: there is no cake: bake one."  # which Python prints, ending with 1
    command.work = interrupted
    assert end("try", "a") == 130
    assert capsys.readouterr().err == ""
    for words in (["try"], ["try", "a", "--top", "x"], ["try", "a", "--bottom"]):
        assert end(*words) == 2
        assert capsys.readouterr().err.splitlines()[0].startswith("usage: python -m darkroom try ")
    command.work = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):  # an error of the program is no message
        program.main(["try", "a"])


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    assert end("tyr") == 2
    assert "invalid choice: 'tyr' (choose from " in capsys.readouterr().err
    assert end("--unknown") == 2


def test_without_a_command_the_program_is_explained(capsys):
    assert end() == end("--help") == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m darkroom [-h] COMMAND ...\n")
    assert all(re.search(rf"\n +{name} +[A-Z]", text) for name in program.COMMANDS)


def test_an_error_is_one_sentence_and_exit_code_1(workspace):
    result = run("python", "-m", "darkroom", "summary", cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    message = "summary: there is no reports/metrics.json yet: run `dvc repro`.\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


def test_a_sweep_without_features_ends_before_slow_imports(workspace):
    words = ("python", "-X", "importtime", "-m", "darkroom", "sweep", "mine")
    done = run(*words, cwd=workspace, check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    message = "sweep: reports/extract.json is missing: run `dvc repro extract`, which writes it."
    assert done.stderr.splitlines()[-1] == message
    assert not re.search("tensorflow|keras|sklearn|optuna|mlflow", done.stderr.replace("darkroom.", ""))
