"""What both `score` commands are asked with."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.scoring.labeled import Split

LabeledFile = Annotated[
    Path | None, typer.Argument(help="labeled texts, `label TAB text`; without it, the packaged ones")
]
SplitOption = Annotated[
    Split, typer.Option(help="which part of the packaged texts: the one no rule was tuned on, or another")
]
MissesOption = Annotated[bool, typer.Option("--misses", help="print each text that is read wrong")]
