"""`ringback dlq list | show | replay | drop | resume`: dead letters, and partitions that stand because of them."""

import asyncio
import json
import re
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import typer

from schemas.envelope import STOOD, Event, Wire, encode, stood_at
from schemas.ids import whose
from schemas.inbound import ReplyLookedAt, ReplyReceived
from schemas.topics import dead_letter_topic
from services.cli.exits import Cannot, WrongUse, shortened
from services.runtime.clock import real_now
from services.runtime.dead_letter_topics import (
    DROPPED,
    REPLAYED,
    RESUMED,
    DeadLetterTopics,
    Letter,
    Note,
    note_in,
    paused_by,
    text_headers,
)
from services.runtime.errors import TransientError
from services.runtime.producer import KafkaProducer
from services.runtime.settings import RuntimeSettings

app = typer.Typer(
    help="See what could not be handled; once its cause is fixed replay it, or drop it, and resume partitions that stand.",
    no_args_is_help=True,
)

T = TypeVar("T")
Places = Annotated[
    list[str], typer.Argument(help="dead letters as `list` names them: replies.dlq/1/5", metavar="PLACE...")
]
PLACE = re.compile(r"([\w.-]+\.dlq)/(\d+)/(\d+)")
Spot = tuple[str, int, int]
"""A dead-letter topic, partition and offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLetters:
    """What stands in dead-letter topics.

    Attributes:
        letters: the dead letters nobody has replayed or dropped.
        standing: the partitions that are paused.
        done: what became of the others.
        dealt_with: the others.
    """

    letters: dict[Spot, Letter]
    standing: list[Note]
    done: dict[Spot, str]
    dealt_with: dict[Spot, Letter]


def open_in(records: Sequence[Letter]) -> OpenLetters:
    """Return what is open among the records of dead-letter topics."""
    letters = {
        (record.topic, record.partition, record.offset): record
        for record in records
        if "dlq_topic" in text_headers(record)
    }
    done: dict[Spot, str] = {}
    for record in records:
        note = note_in(record)
        if note is not None and note.kind in (REPLAYED, DROPPED):
            done[note.topic, note.partition, note.offset] = note.kind.removeprefix("dlq.")
    return OpenLetters(
        letters={spot: letter for spot, letter in sorted(letters.items()) if spot not in done},
        standing=sorted(paused_by(records).values(), key=lambda note: (note.topic, note.partition)),
        done=done,
        dealt_with={spot: letter for spot, letter in letters.items() if spot in done},
    )


def original_of(letter: Letter) -> Wire:
    """Return the record that a dead letter was, to be sent again.

    Raises:
        Cannot: its value was left out.
    """
    headers = text_headers(letter)
    if "dlq_value_left_out" in headers:
        raise Cannot(
            f"{name_of(letter)} holds no value: it was too large to be written again",
            f"it stands in {headers['dlq_topic']}, partition {headers['dlq_partition']}, offset {headers['dlq_offset']}, "
            "while that topic keeps it",
        )
    kept = [(name, value) for name, value in letter.headers if not name.startswith("dlq_")]
    return Wire(topic=headers["dlq_topic"], key=letter.key or b"", value=letter.value or b"", headers=kept)


def wires_of_replay(letter: Letter) -> list[Wire]:
    """Return what replays a dead letter, in order; that it was done is noted last."""
    original, headers = original_of(letter), text_headers(letter)
    if original.topic == ReplyReceived.TOPIC and STOOD not in headers:
        # What it does to texts that came after it, and that nobody has read, depends on where it stood first.
        stood = stood_at(int(headers["dlq_partition"]), int(headers["dlq_offset"]))
        original = replace(original, headers=[*original.headers, stood])
    return [original, *_looked_at(letter, "replayed"), _about(letter, REPLAYED).wire()]


def wires_of_drop(letter: Letter) -> list[Wire]:
    """Return what drops a dead letter, in order."""
    return [*_looked_at(letter, "dropped"), _about(letter, DROPPED).wire()]


def wires_to_drop(there: OpenLetters, place: str) -> list[Wire]:
    """Return what drops a dead letter that is named, in order.

    Of a text that was dealt with already, what lifts its sender's suppression is sent again: a leads service of an older
    version knows no such event and has ignored it.

    Raises:
        WrongUse: the name is none.
        Cannot: there is no such dead letter, or it was replayed or dropped and nothing is to be lifted.
    """
    before = there.dealt_with.get(_spot_of(place))
    return (before and _looked_at(before, "dropped")) or wires_of_drop(open_letter(there, place))


def open_letter(there: OpenLetters, place: str) -> Letter:
    """Return the open dead letter that is named.

    Raises:
        WrongUse: the name is none.
        Cannot: there is no such dead letter, or it was replayed or dropped.
    """
    spot = _spot_of(place)
    if spot not in there.letters:
        why = f"was {there.done[spot]} already" if spot in there.done else "is not there"
        raise Cannot(f"{place} {why}", "`ringback dlq list` names those that are open")
    return there.letters[spot]


def _looked_at(letter: Letter, how: Literal["replayed", "dropped"]) -> list[Wire]:
    """Return what lifts the suppression of whoever sent a text that could not be read; nothing for other letters."""
    headers, found = text_headers(letter), whose(letter.key)
    if headers["dlq_topic"] != ReplyLookedAt.TOPIC or found is None:
        return []
    now = real_now()
    data = ReplyLookedAt(
        partition=int(headers["dlq_partition"]), offset=int(headers["dlq_offset"]), how=how, looked_at=now
    )
    event = Event(
        id=f"{ReplyLookedAt.TOPIC}:{data.partition}:{data.offset}:{how}",
        data=data,
        source="ringback/dlq",
        time=now,
        key=letter.key or b"",
        lender_id=found[0],
    )
    return [encode(event)]


def name_of(letter: Letter) -> str:
    """Return how a dead letter is named on the command line."""
    return f"{letter.topic}/{letter.partition}/{letter.offset}"


def line_of(letter: Letter) -> str:
    """Return a dead letter in one line, without the borrower's number."""
    headers = text_headers(letter)
    source = f"{headers['dlq_topic']}[{headers.get('dlq_partition', '?')}] at {headers.get('dlq_offset', '?')}"
    kind, since = headers.get("ce_type", "no type"), headers.get("dlq_first_failed", "")[:19]
    return f"{name_of(letter)}  {since}  {kind}  from {source}: {shortened(headers.get('dlq_reason', ''))}"


@app.command("list")
def list_(
    topic: Annotated[str | None, typer.Argument(help="only of this topic, such as replies")] = None,
) -> None:
    """List the dead letters that nobody has replayed or dropped, and the partitions that stand."""
    found = _run(_read(_topics(topic)))
    for note in found.standing:
        print(f"{note.topic}[{note.partition}] of {note.group} stands at {note.offset}: {shortened(note.why)}")
    for letter in found.letters.values():
        print(line_of(letter))
    if not found.letters and not found.standing:
        print("no dead letters, and no partition stands")


@app.command()
def show(place: Annotated[str, typer.Argument(help="a dead letter as `list` names it: replies.dlq/1/5")]) -> None:
    """Print all of one dead letter: its headers and its value, with what it says about the borrower."""
    letter = open_letter(_there([place]), place)
    for name, value in text_headers(letter).items():
        print(f"{name}: {value}")
    print(f"key: {(letter.key or b'').decode(errors='replace')}")
    text = (letter.value or b"").decode(errors="replace")
    try:
        print(json.dumps(json.loads(text), indent=2, ensure_ascii=False))
    except ValueError:
        print(text)


@app.command()
def replay(places: Places) -> None:
    """Send dead letters to their topics again; their ids are the same, so what was done already is not repeated.

    Whoever sent a text that could not be read gets texts again, if it can be read now.
    """
    there = _there(places)
    _run(_send([wire for place in places for wire in wires_of_replay(open_letter(there, place))]))
    print(f"replayed {len(places)}")


@app.command()
def drop(places: Places) -> None:
    """Strike dead letters from the list; they are not handled. The sender of a text that is dropped gets texts again.

    For a text that was replayed or dropped already, only what gives its sender texts again is sent once more.
    """
    there = _there(places)
    _run(_send([wire for place in places for wire in wires_to_drop(there, place)]))
    print(f"dropped {len(places)}")


@app.command()
def resume(
    topic: Annotated[str, typer.Argument(help="the topic, such as replies")],
    partition: Annotated[int, typer.Argument(min=0, help="its partition that stands")],
) -> None:
    """Let a partition go on that stands because too many of its events failed; running services follow within seconds."""
    names = _topics(topic)
    standing = [note for note in _run(_read(names)).standing if (note.topic, note.partition) == (topic, partition)]
    if not standing:
        raise Cannot(f"{topic}[{partition}] does not stand", "`ringback dlq list` names those that do")
    note = Note(kind=RESUMED, topic=topic, partition=partition, offset=standing[0].offset)
    _run(_send([note.wire()]))
    print(f"{topic}[{partition}] goes on at {note.offset}")


def _about(letter: Letter, kind: str) -> Note:
    return Note(kind=kind, topic=letter.topic, partition=letter.partition, offset=letter.offset)


def _settings() -> RuntimeSettings:
    return RuntimeSettings.load(service="dlq")


def _topics(topic: str | None) -> list[str]:
    """Return the source topics that have dead letters, or the one that is named.

    Raises:
        WrongUse: there is no such topic.
    """
    names = [one.name for one in _settings().topics()]
    sources = [name for name in names if dead_letter_topic(name) in names]
    if topic is not None and topic not in sources:
        raise WrongUse(f"{topic} is no topic with dead letters", f"write one of {', '.join(sources)}")
    return sources if topic is None else [topic]


def _spot_of(place: str) -> Spot:
    found = PLACE.fullmatch(place)
    if found is None:
        raise WrongUse(f"{place!r} is no dead letter's name", "write it as `ringback dlq list` does: replies.dlq/1/5")
    return found[1], int(found[2]), int(found[3])


def _there(places: Sequence[str]) -> OpenLetters:
    """Return what stands in the dead-letter topics that are named."""
    sources = sorted({_spot_of(place)[0].removesuffix(dead_letter_topic("")) for place in places})
    return _run(_read([name for source in sources for name in _topics(source)]))


async def _read(topics: Sequence[str]) -> OpenLetters:
    return open_in(await DeadLetterTopics(_settings().kafka_bootstrap_servers, topics).read())


async def _send(wires: Sequence[Wire]) -> None:
    producer = KafkaProducer(bootstrap_servers=_settings().kafka_bootstrap_servers, client_id="ringback-dlq")
    try:
        await producer.start()
        for wire in wires:  # one by one: a note that something was done follows what was done
            await producer.send_wire(wire)
    finally:
        await producer.stop()


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except TransientError as error:
        raise Cannot(
            shortened(str(error)), "check that Kafka is up and that RINGBACK_KAFKA_BOOTSTRAP_SERVERS names it"
        ) from error
