"""`python -m schemas.publish`: write the schemas of new events, and compatible additions to those already published."""

import json
import sys
from datetime import UTC, date, datetime, time
from types import NoneType
from typing import Any, get_args

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from schemas.base import OPEN_LIST, EventData
from schemas.envelope import EVENTS
from schemas.published import incompatibilities, path_of, read, schema_of

AT = datetime(2026, 6, 1, 14, 3, 22, tzinfo=UTC)


def sample(model: type[BaseModel]) -> dict[str, Any]:
    """Return a payload of a model with every field filled, the same each time."""
    return {name: _value(name, field, field.annotation) for name, field in model.model_fields.items()}


def _value(name: str, field: FieldInfo, annotation: Any) -> Any:
    options = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return sample(annotation)
    if NoneType in options:
        return _value(name, field, next(option for option in options if option is not NoneType))
    if hasattr(annotation, "__metadata__"):
        return _value(name, field, options[0])
    if options and isinstance(options[0], str):
        return options[0]
    if isinstance(field.json_schema_extra, dict) and isinstance(known := field.json_schema_extra.get(OPEN_LIST), list):
        return known[0]
    if str(annotation).startswith("tuple"):
        return ["example"]
    if name in ("caller", "to", "dialled", "from_number"):
        return "+12125550123"
    if name == "zone":
        return "America/New_York"
    by_type: dict[Any, Any] = {
        AwareDatetime: AT.isoformat(),
        str: "example",
        int: 1,
        float: 1.5,
        bool: True,
        datetime: AT.isoformat(),
        date: AT.date().isoformat(),
        time: time(8, 30).isoformat(),
    }
    return by_type[annotation]


def publish(event_type: str, model: type[EventData]) -> list[str]:
    """Write one event's schema and, when there is none, its golden payload; return what forbids it."""
    path = path_of(event_type)
    if path.exists() and (broken := incompatibilities(read(event_type), schema_of(model))):
        return [f"{event_type}: {line}" for line in broken]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema_of(model), indent=2) + "\n")
    golden = path_of(event_type, "golden")
    if not golden.exists():
        payload = model.model_validate(sample(model)).model_dump_json(indent=2)
        golden.write_text(payload + "\n")
    return []


if __name__ == "__main__":
    wrong = [line for event_type, model in sorted(EVENTS.items()) for line in publish(event_type, model)]
    print("\n".join(wrong) or f"{len(EVENTS)} event types are published")
    sys.exit(1 if wrong else 0)
