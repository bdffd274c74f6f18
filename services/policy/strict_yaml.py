"""Reads the YAML files that people write: what is ambiguous or would blow up is an error with its line and reason."""

from collections.abc import Hashable
from typing import Final

import yaml

MAX_CHARS: Final = 1_000_000
"""Longest text that is read; a lender with a thousand officers needs a third of it."""
MAX_ALIASED: Final = 10_000
"""Most values that all `*aliases` of a text may stand for: nine aliases of nine aliases, nested, are billions of values."""


class YamlError(ValueError):
    """The text cannot be used; the message is `line 3: not YAML: ...`, or `file: ...` where no line is to blame."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(f"{f'line {line}' if line else 'file'}: {reason}")


def _line(mark: yaml.error.Mark | yaml._yaml.Mark | None) -> int | None:
    return mark.line + 1 if mark else None


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader, but with an error for a repeated key, too many aliased values, or a value Python cannot hold."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0
        self._aliased = 0
        self._sizes: dict[yaml.Node | None, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        start: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        before = self._values
        node = super().compose_node(parent, index)
        if not isinstance(start, yaml.AliasEvent):
            self._values += 1
            self._sizes[node] = self._values - before
            return node
        if node not in self._sizes:  # it is still being read
            raise YamlError(_line(start.start_mark), "an alias stands inside its own value")
        self._values += self._sizes[node]
        self._aliased += self._sizes[node]
        if self._aliased > MAX_ALIASED:
            raise YamlError(_line(start.start_mark), f"the aliases stand for more than {MAX_ALIASED} values")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
            # PyYAML lets these through: of a date such as 2026-02-30, of a number of 5,000 digits, of `!!bool perhaps`.
            why = str(error).partition(";")[0] if isinstance(error, ValueError) else "is not what its tag says"
            raise yaml.constructor.ConstructorError(None, None, why, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> object:
    """Return what a text says.

    Args:
        text: callers need not read more of a file than `MAX_CHARS` + 1 characters.

    Raises:
        YamlError: it says nothing that can be used; names line and reason.
    """
    if len(text) > MAX_CHARS:
        raise YamlError(None, f"is longer than {MAX_CHARS} characters")
    try:
        found: object = yaml.load(text, _StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"not YAML: the character {chr(error.character)!a} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        raise YamlError(_line(error.problem_mark), f"not YAML: {error.problem or error.context}") from error
    except YamlError:
        raise
    except RecursionError as error:
        raise YamlError(None, "not YAML: is nested too deeply") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise YamlError(None, f"not YAML: {error}") from error
    return found
