"""`ringback optout score` and `intents score`: the figures of the held-out texts, and files of one's own."""

from pathlib import Path

import pytest

from services.cli.app import run
from services.cli.scoring import intents, optouts
from services.cli.scoring.labeled import LabeledText, read_labeled
from services.cli.scoring.wilson import Share
from services.policy.reading.intents import RulesInterpreter


def test_held_out_opt_outs_are_read_as_well_as_the_documents_say() -> None:
    """Fact M2: opt-outs in any words are honored; the share that is understood is measured, not claimed."""
    found = optouts.figures_of(optouts.read_all(read_labeled(None, "optout.tsv", "heldout")))
    assert found.recall.value >= 0.98
    assert found.false_stops.value <= 0.01
    assert found.scopes.value >= 0.98


def test_held_out_intents_are_read_as_well_as_the_documents_say() -> None:
    texts = intents.read_all(read_labeled(None, "intents.tsv", "heldout"), RulesInterpreter())
    assert intents.exact(texts).value >= 0.95


def test_there_are_as_many_labeled_texts_as_promised() -> None:
    texts = read_labeled(None, "optout.tsv", "all")
    stops = [text for text in texts if text.label.startswith("stop")]
    others = [text for text in texts if text.label == "other"]
    assert (len(stops) >= 500, len(others) >= 800) == (True, True)
    assert sum(text.kind in ("hard", "mortgage", "machine") for text in others) >= 400
    assert sum(text.kind == "machine" for text in others) >= 40
    assert sum(text.kind == "mortgage" for text in others) >= 40
    assert len(read_labeled(None, "intents.tsv", "all")) >= 1200


@pytest.mark.parametrize("packaged", ["optout.tsv", "intents.tsv"])
def test_no_family_and_no_text_is_in_both_parts(packaged: str) -> None:
    held, tuned = read_labeled(None, packaged, "heldout"), read_labeled(None, packaged, "tuning")
    assert {text.family for text in held} & {text.family for text in tuned} == set()
    assert {text.text for text in held} & {text.text for text in tuned} == set()


def test_scores_of_an_own_file_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text("stop\tlose my number\nother\tstop by tomorrow\nstop\tthe weather is fine\n")
    assert run(["optout", "score", str(file), "--misses"]) == 0
    told = capsys.readouterr().out
    assert "50.0%" in told
    assert "the weather is fine" in told
    file.write_text("purpose:purchase\tlooking to buy\n")
    assert run(["intents", "score", str(file)]) == 0
    assert "purpose:purchase" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("optout", "stop lose my number\n"),
        ("optout", "halt\tlose my number\n"),
        ("intents", "buying\tbuy\n"),
        ("optout", ""),
    ],
)
def test_file_that_is_not_labeled_texts_is_explained(
    command: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text(text)
    assert run([command, "score", str(file)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_doubt_counts_half() -> None:
    texts = optouts.read_all(
        [LabeledText(label="stop", text="STOP"), LabeledText(label="stop", text="Reply STOP to opt out")]
    )
    assert optouts.figures_of(texts).recall == Share(1.5, 2)


def test_wilsons_interval_is_wilsons() -> None:
    low, high = Share(98, 100).interval()
    assert (round(low, 4), round(high, 4)) == (0.93, 0.9945)
    assert Share(0, 0).interval() == (0.0, 1.0)
