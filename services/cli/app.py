"""The `ringback` command line: every subcommand under its name."""

import typer

from services.cli.bench import bench
from services.cli.demo import demo
from services.cli.explain import explain
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


def main() -> None:
    """Run the command line."""
    app()
