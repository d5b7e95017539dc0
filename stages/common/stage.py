"""The frame that every stage script has in common: `--help`, checked params, errors as one sentence."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from stages.common import params
from stages.common.errors import StageError


def run(name: str, main: Callable[[params.Base, Any], None]) -> None:
    """Run a stage: check the whole params.yaml, then call `main` with the section `base` and the stage's own.

    All sections are checked, so that a slip in `export` is not found after an hour of training. Never returns: see
    `command`.
    """

    def checked() -> None:
        sections = params.check(params.load())
        main(sections["base"], sections[name])  # type: ignore[arg-type]

    command(name, checked)


def command(name: str, main: Callable[..., None], arguments: dict[str, dict[str, Any]] | None = None) -> None:
    """Run a command that knows `--help`. Exits with 0, with 1 after one sentence on what is wrong, or with 130.

    Args:
        name: of the script.
        main: what does the work; it gets the values of `arguments`.
        arguments: what argparse is to know of each argument, by its name.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{name}",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for argument, known in (arguments or {}).items():
        parser.add_argument(argument, **known)
    given = vars(parser.parse_args())
    try:
        main(**given)
    except StageError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)
