"""The `ringback` command line: every subcommand under its name, and the one place where a failure becomes an exit code."""

import logging
import sys
import traceback
from collections.abc import Sequence

import typer

from services.cli.bench import bench
from services.cli.demo import demo
from services.cli.dlq import app as dlq
from services.cli.exits import CANNOT, DEFECT, DONE, STOPPED, failure_of
from services.cli.explain import explain
from services.cli.intents import app as intents
from services.cli.optout import app as optout
from services.cli.replay import replay
from services.cli.topics import app as topics

app = typer.Typer(
    name="ringback",
    help="Recover missed calls: one lawful text within a second, one lead, one named officer behind one callback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo)
app.command("replay")(replay)
app.command("explain")(explain)
app.command("bench")(bench)
app.add_typer(topics, name="topics")
app.add_typer(dlq, name="dlq")
app.add_typer(optout, name="optout")
app.add_typer(intents, name="intents")


def run(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever fails is told on standard error.

    Args:
        args: what stands behind `ringback`; None takes the process's own.
    """
    try:
        code = app(args=args, prog_name="ringback", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us, `head` for example, has gone; the interpreter must not try to tell it
        return CANNOT
    except Exception as error:
        if (failure := failure_of(error)) is None:
            traceback.print_exc()
            return DEFECT
        if failure.what:  # empty after the help that a bare `ringback` prints
            print(failure.lines(), file=sys.stderr)
        return failure.code
    if code == STOPPED:  # Typer makes it of Ctrl-C, and says nothing
        print("stopped", file=sys.stderr)
    return code if isinstance(code, int) else DONE


def main() -> None:
    """Run the command line and exit with its code."""
    # What a driver logs of its attempts is not for whoever runs a command; without a handler Python prints it.
    logging.getLogger().addHandler(logging.NullHandler())
    raise SystemExit(run())
