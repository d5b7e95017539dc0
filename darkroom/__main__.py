"""Commands that are not stages of the pipeline; `python -m darkroom COMMAND --help` explains each of them."""

import argparse
import ast
import functools
import importlib
import sys
from pathlib import Path

from darkroom.pipeline.script import guarded

# In the order in which a newcomer meets them.
COMMANDS = {
    "inspect": "darkroom.commands.inspect.command",
    "check": "darkroom.commands.check",
    "forecast": "darkroom.commands.forecast.command",
    "summary": "darkroom.commands.summary",
    "predict": "darkroom.commands.predict.command",
    "page": "darkroom.commands.page.command",
    "review": "darkroom.commands.review.command",
    "recipe": "darkroom.commands.recipe",
    "results": "darkroom.commands.results",
    "advise": "darkroom.commands.advise",
    "sweep": "darkroom.commands.sweep.command",
    "compare": "darkroom.commands.compare.command",
    "reproduce": "darkroom.commands.reproduce.command",
    "promote": "darkroom.commands.promote.command",
    "datadiff": "darkroom.commands.datadiff.command",
    "track": "darkroom.commands.track",
    "schema": "darkroom.commands.schema",
}


def main(words: list[str]) -> None:
    """Run the command whose name is the first of `words`; the others are its arguments."""
    name, *rest = words or ["--help"]

    def work() -> None:
        if name not in COMMANDS:
            _overview().parse_args([name])  # prints the help or an error, and exits
        module = importlib.import_module(COMMANDS[name])
        parser = argparse.ArgumentParser(
            prog=f"python -m darkroom {name}",
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument, options in getattr(module, "ARGUMENTS", {}).items():
            parser.add_argument(argument, **options)
        module.main(**vars(parser.parse_args(rest)))

    guarded(name, work)


def summary(name: str) -> str:
    """Return the first line of a command's docstring without importing the command, which can take seconds."""
    path = Path(__file__).parent.joinpath(*COMMANDS[name].split(".")[1:]).with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _overview() -> argparse.ArgumentParser:
    # argparse forgets to count a level of indentation, and would break the line of the longest name.
    formatter = functools.partial(argparse.HelpFormatter, indent_increment=1)
    parser = argparse.ArgumentParser(prog="python -m darkroom", description=__doc__, formatter_class=formatter)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name in COMMANDS:
        subparsers.add_parser(name, help=summary(name))
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
