"""The frame of stage scripts and commands: `--help`, checked params, errors in one sentence."""

import argparse
import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from darkroom.core.errors import UserError, environment_sentence
from darkroom.core.secrets import redact
from darkroom.core.temporary import PREFIX, own_folder
from darkroom.core.terminal import Printable, replaced, unfiltered

if TYPE_CHECKING:
    from darkroom.core.params import Base

# Imports create many objects and no garbage, and the end of a process frees all its memory: the search for garbage in
# both would take a second or two. Here, since the processes that a stage starts import its script as well.
gc.set_threshold(50_000, 20, 100)
atexit.register(gc.freeze)


def run(stage: str, main: "Callable[[Base, Any], None]") -> NoReturn:
    """Run a stage: check params.yaml, then call `main` with section `base` and the stage's own.

    All sections are checked, so that a mistake in `export` is not found after an hour of training.
    """
    argparse.ArgumentParser(
        prog=f"python -m stages.{stage}",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()

    def work() -> None:
        from darkroom.pipeline import params

        sections = params.current()
        main(sections.base, getattr(sections, stage))

    guarded(stage, work)


def guarded(name: str, work: Callable[[], None]) -> NoReturn:
    """Call `work` and exit: with 0, with 130 after Ctrl-C, or with 1 and one sentence on stderr.

    The sentence is a UserError's, or on an error of the environment; a fault of the program shows its traceback.
    """
    sys.stdout = cast(TextIO, Printable(sys.stdout))
    try:
        with own_folder():
            work()
    except UserError as error:
        sys.exit(_shown(f"{name}: {error}"))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (sentence := environment_sentence(error)) is None:
            raise
        sys.exit(_shown(f"{name}: {sentence}"))
    finally:
        sys.stdout = unfiltered(sys.stdout)
    sys.exit(0)


def replace_process(command: list[str]) -> NoReturn:
    """Let another program take the place of this process; its temporary files, which nobody would delete, go first."""
    folder = Path(tempfile.gettempdir())
    if folder.name.startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    os.execv(command[0], command)  # noqa: S606


def _shown(text: str) -> str:
    """A message without secrets, and without characters that do something to a terminal."""
    return replaced(redact(text), "?", kept="\n\t")
