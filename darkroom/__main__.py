"""Commands that are not stages of the pipeline: `python -m darkroom COMMAND --help` explains each."""

import argparse
import importlib
import sys
from types import ModuleType
from typing import Any

from darkroom.pipeline.script import guarded

# In the order in which a newcomer meets them.
COMMANDS = {
    "summary": "darkroom.commands.summary",
    "predict": "darkroom.commands.predict.command",
    "page": "darkroom.commands.page.command",
    "recipe": "darkroom.commands.recipe",
    "advise": "darkroom.commands.advise",
    "sweep": "darkroom.commands.sweep.command",
    "compare": "darkroom.commands.compare.command",
    "promote": "darkroom.commands.promote.command",
    "datadiff": "darkroom.commands.datadiff.command",
    "track": "darkroom.commands.track",
}


def main(words: list[str]) -> None:
    """Run the command that `words` begin with."""
    name = words[0] if words else ""
    if name not in COMMANDS:
        _parser(COMMANDS).parse_args(words or ["--help"])  # prints help or an error, and exits
    module = importlib.import_module(COMMANDS[name])
    arguments = vars(_parser([name]).parse_args(words))
    arguments.pop("command")
    guarded(name, lambda: module.main(**arguments))


def _parser(names: "dict[str, str] | list[str]") -> argparse.ArgumentParser:
    """The parser of some commands: imports are what takes time, so that only the one that runs is imported."""
    parser = argparse.ArgumentParser(prog="python -m darkroom", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name in names:
        module = importlib.import_module(COMMANDS[name])
        text = str(module.__doc__)
        subparser = subparsers.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument, options in _arguments(module).items():
            subparser.add_argument(argument, **options)
    return parser


def _arguments(module: ModuleType) -> dict[str, dict[str, Any]]:
    """A command's arguments: name to what `add_argument` takes."""
    return dict(getattr(module, "ARGUMENTS", {}))


if __name__ == "__main__":
    main(sys.argv[1:])
