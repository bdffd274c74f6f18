"""`ringback intents score`: how well the reader understands what borrowers' texts mean."""

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli.scoring.intents import ReadIntents, exact, figures_by_kind, read_all
from services.cli.scoring.labeled import read_labeled
from services.cli.scoring.options import LabeledFile, MissesOption, SplitOption
from services.policy.reading.intents import RulesInterpreter

console = Console(highlight=False, width=140)
app = typer.Typer(help="What borrowers' texts mean, and how they are read.", no_args_is_help=True)


@app.callback()
def intents() -> None:
    """Keep `score` a subcommand: others come beside it."""


@app.command()
def score(
    file: LabeledFile = None,
    split: SplitOption = "heldout",
    misses: MissesOption = False,
) -> None:
    """Print how well intents are read, with 95 % intervals (Wilson), by language and by intent."""
    texts = read_all(read_labeled(file, "intents.tsv", split), RulesInterpreter())
    table = Table(
        box=None,
        padding=(0, 1),
        title=f"intents, {len(texts)} texts{'' if file else f', {split}'}",
        title_justify="left",
    )
    for name in ("texts", "n", "read exactly as labeled"):
        table.add_column(name, overflow="fold")
    table.add_row("all", str(len(texts)), str(exact(texts)))
    for language in sorted({text.case.language for text in texts} - {"?"}):
        some = [text for text in texts if text.case.language == language]
        table.add_row(language, str(len(some)), str(exact(some)))
    console.print(table)
    _print_kinds(texts)
    for text in texts if misses else ():
        if text.wanted != text.found:
            read = ";".join(sorted(text.found)) or "none"
            console.print(f"{text.case.label:30} {read:30} {escape(text.case.text.replace(chr(10), ' / '))}")


def _print_kinds(texts: list[ReadIntents]) -> None:
    table = Table(box=None, padding=(0, 1))
    for name in ("intent", "n", "recall", "precision"):
        table.add_column(name, overflow="fold")
    for name, found in figures_by_kind(texts).items():
        table.add_row(name, str(found.recall.whole), str(found.recall), str(found.precision))
    console.print(table)
