"""The published schemas: one JSON Schema and one golden payload per event version, and the rule for changing them.

A consumer of any age must be able to read a producer of any age. So a published schema only ever gains optional
properties, and values in its open lists (`x-known-values` beside a text: readers take any text). A closed list (`enum`)
gains none, since readers refuse a value they do not know. A closed list of reasons or states may become an open list,
once: no change leads back.
"""

import json
from pathlib import Path
from typing import Any

from schemas.base import OPEN_LIST, EventData
from schemas.envelope import EVENTS

FOLDER = Path(__file__).parent / "json"
VERSION = "v1"
Schema = dict[str, Any]

IGNORED = frozenset({"description", "title", "examples", "default"})
"""Words for people; changing them breaks no reader."""

OPENED = frozenset({"reason", "state", "status"})
"""Properties whose closed list may become an open one: they say why something happened or where it stands."""


def schema_of(model: type[EventData]) -> Schema:
    """Return an event's JSON Schema (2020-12), as `schemas/json/<type>/v1.json` holds it."""
    found = model.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "x-topic": model.TOPIC, **found}


def path_of(event_type: str, name: str = "schema") -> Path:
    """Return where an event type's schema or golden payload is published."""
    return FOLDER / event_type / f"{VERSION}{'' if name == 'schema' else '.golden'}.json"


def read(event_type: str, name: str = "schema") -> Schema:
    """Return a published file."""
    found: Schema = json.loads(path_of(event_type, name).read_text())
    return found


def incompatibilities(old: Any, new: Any, at: str = "$") -> list[str]:
    """Return every change from `old` to `new` that the rule above forbids; empty means compatible.

    Args:
        old: a published schema, or a part of it.
        new: the same part of the schema that is to replace it.
        at: where the part stands; its last name is the property's.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        if _becomes_open(old, new, at):
            old = {key: value for key, value in old.items() if key != "enum"} | {OPEN_LIST: old["enum"]}
        lines = []
        for key in old.keys() | new.keys():
            where = f"{at}.{key}"
            if key in IGNORED:
                continue
            if key in ("properties", "$defs"):
                before, after = old.get(key, {}), new.get(key, {})
                lines += [f"{where}.{name}: removed" for name in before.keys() - after.keys()]
                for name in before.keys() & after.keys():
                    lines += incompatibilities(before[name], after[name], f"{where}.{name}")
            elif key == "required":
                added = set(new.get(key, ())) - set(old.get(key, ()))
                removed = set(old.get(key, ())) - set(new.get(key, ()))
                lines += [f"{where}: {name} became required" for name in sorted(added)]
                lines += [f"{where}: {name} is no longer required" for name in sorted(removed)]
            elif key == OPEN_LIST and key in old and key in new:
                lines += [f"{where}: {value!r} removed" for value in old[key] if value not in new[key]]
            elif key not in old or key not in new:
                lines.append(f"{where}: {'added' if key in new else 'removed'}")
            else:
                lines += incompatibilities(old[key], new[key], where)
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for n, pair in enumerate(zip(old, new, strict=True)) for line in incompatibilities(*pair, f"{at}[{n}]")
        ]
    return [] if old == new else [f"{at}: {old!r} became {new!r}"]


def _becomes_open(old: Schema, new: Schema, at: str) -> bool:
    closed = "enum" in old and OPEN_LIST not in old
    opened = OPEN_LIST in new and "enum" not in new
    return closed and opened and at.rpartition(".")[2] in OPENED


def drift() -> list[str]:
    """Compare today's models with what is published; return a line for every breaking change and unpublished event."""
    lines = []
    for event_type, model in sorted(EVENTS.items()):
        if not path_of(event_type).exists():
            lines.append(f"{event_type}: not published (`make schemas` publishes it)")
            continue
        lines += [f"{event_type}: {line}" for line in incompatibilities(read(event_type), schema_of(model))]
    lines += [f"{path.name}: published, but no event type" for path in FOLDER.iterdir() if path.name not in EVENTS]
    return lines
