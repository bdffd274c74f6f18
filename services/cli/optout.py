"""`ringback optout score`: how many opt-outs the reader understands, and how many it sees where there is none."""

from collections.abc import Iterable

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli.scoring.labeled import read_labeled
from services.cli.scoring.options import LabeledFile, MissesOption, SplitOption
from services.cli.scoring.optouts import ReadText, figures_of, read_all

console = Console(highlight=False, width=140)
app = typer.Typer(help="What borrowers' opt-outs are, and how they are read.", no_args_is_help=True)


@app.callback()
def optout() -> None:
    """Keep `score` a subcommand: others come beside it."""


@app.command()
def score(
    file: LabeledFile = None,
    split: SplitOption = "heldout",
    misses: MissesOption = False,
) -> None:
    """Print how well opt-outs are read, with 95 % intervals (Wilson), in all and by language."""
    texts = read_all(read_labeled(file, "optout.tsv", split))
    table = Table(
        box=None,
        padding=(0, 1),
        title=f"opt-outs, {len(texts)} texts{'' if file else f', {split}'}",
        title_justify="left",
    )
    for name in (
        "texts",
        "understood (a doubt is half)",
        "doubts among them",
        "scope right",
        "false stops",
        "false doubts",
        "START, HELP",
    ):
        table.add_column(name, overflow="fold")
    for name, some in _groups(texts):
        found = figures_of(some)
        table.add_row(
            name,
            *map(
                str, (found.recall, found.doubts, found.scopes, found.false_stops, found.false_doubts, found.commands)
            ),
        )
    console.print(table)
    for text in texts if misses else ():
        if text.is_wrong:
            told = f"{text.reading.optout}:{text.reading.scope}" if text.reading.scope else text.reading.optout
            console.print(
                f"{text.case.label:10} {told:10} {text.reading.why:20} {escape(text.case.text.replace(chr(10), ' / '))}"
            )


def _groups(texts: list[ReadText]) -> Iterable[tuple[str, list[ReadText]]]:
    yield "all", texts
    for language in sorted({text.case.language for text in texts} - {"?"}):
        yield language, [text for text in texts if text.case.language == language]
    for kind in ("hard", "mortgage", "machine"):
        some = [text for text in texts if text.case.kind == kind]
        if some:
            yield kind, some
