"""The frame of stage scripts and commands: `--help`, checked params, errors in one sentence."""

import argparse
import atexit
import gc
import os
import select
import shutil
import signal
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

    def work() -> None:
        argparse.ArgumentParser(
            prog=f"python -m stages.{stage}",
            description=sys.modules["__main__"].__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ).parse_args()
        from darkroom.cluster.engine import engine
        from darkroom.pipeline import params

        sections = params.current()
        with engine(sections.compute):
            main(sections.base, getattr(sections, stage))

    guarded(stage, work)


def guarded(name: str, work: Callable[[], None]) -> NoReturn:
    """Call `work` and exit: with 0, with 130 after Ctrl-C, or with 1 and one sentence on stderr.

    The sentence is a UserError's, or on an error of the environment; a fault of the program shows its traceback. If
    what reads the output ends first (`| head -1`), the code is 141, as of any program that SIGPIPE ends.
    """
    _open_standard_streams()
    sys.stdout = cast(TextIO, Printable(sys.stdout))
    try:
        with own_folder():
            work()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(_shown(f"{name}: {error}"))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        sys.exit(128 + signal.SIGPIPE)
    except Exception as error:
        if (sentence := environment_sentence(error)) is None:
            raise
        sys.exit(_shown(f"{name}: {sentence}"))
    finally:
        sys.stdout = unfiltered(sys.stdout)
        _drop_unwritable_output()
    sys.exit(0)


def replace_process(command: list[str]) -> NoReturn:
    """Let another program take the place of this process; its temporary files, which nobody would delete, go first."""
    folder = Path(tempfile.gettempdir())
    if folder.name.startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    os.execv(command[0], command)  # noqa: S606


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that the caller closed; otherwise the next file would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _drop_unwritable_output() -> None:
    """Let Python's own last flush, whose failure would change the exit code, write what is left to /dev/null."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _shown(text: str) -> str:
    """A message without secrets, and without characters that do something to a terminal."""
    return replaced(redact(text), "?", kept="\n\t")
