"""Labeled texts from a file: a line each, `label TAB text`, then, where known, `family TAB split`."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from services.cli.exits import WrongUse

Split = Literal["heldout", "tuning", "all"]
PACKAGED: Final = files("services.cli.scoring") / "data"
HEADER: Final = "label\ttext"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledText:
    """A text and what it is.

    Attributes:
        label: as written in the file.
        text: with real line breaks; the file writes them as backslash and n.
        family: `language.kind.phrasing`; empty in a file of two columns.
        split: `heldout`, `tuning`, or empty.
    """

    label: str
    text: str
    family: str = ""
    split: str = ""

    @property
    def language(self) -> str:
        """Return `en`, `es` or `mix` by the family; `?` where there is none."""
        return self.family.partition(".")[0] or "?"

    @property
    def kind(self) -> str:
        """Return the family's second part: `hard`, `machine`, `mortgage`."""
        return self.family.partition(".")[2].partition(".")[0]


def read_labeled(file: Path | None, packaged: str, split: Split) -> list[LabeledText]:
    """Return the labeled texts of a file; without one, the packaged ones of the split.

    Raises:
        WrongUse: a line is not `label TAB text`, or nothing is left to score.
    """
    text = (PACKAGED / packaged).read_text(encoding="utf-8") if file is None else _read(file)
    rows = list(_rows(text, packaged if file is None else str(file)))
    if split != "all" and any(row.split for row in rows):
        rows = [row for row in rows if row.split == split]
    if not rows:
        raise WrongUse("there is no labeled text to score", "write a line for each: its label, a tab, the text")
    return rows


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"{file} cannot be read: {error}", "name a text file in UTF-8") from error


def _rows(text: str, name: str) -> Iterator[LabeledText]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(("#", HEADER)):
            continue
        label, *rest = line.rstrip("\r").split("\t")
        if not label.strip() or not rest:
            raise WrongUse(f"{name}, line {number}: no tab", "write the label, a tab, then the text")
        family, split = (*rest[1:3], "", "")[:2]
        yield LabeledText(label=label.strip(), text=rest[0].replace("\\n", "\n"), family=family, split=split)
