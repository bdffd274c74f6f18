"""YAML that people write: whatever is in the text, it is read, or one error says line and reason."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.strict_yaml import MAX_CHARS, YamlError, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\non: 2026-02-30\n", "line 2: not YAML: day is out of range for month"),
        (f"a: {'9' * 5000}", "line 1: not YAML: Exceeds the limit"),
        ("a:\n  b: !!bool perhaps", "line 2: not YAML: is not what its tag says"),
        ("a: !!timestamp soon", "line 1: not YAML: "),
        ("[" * 3000 + "]" * 3000, "file: not YAML: is nested too deeply"),
        ("a: {b: 1, b: 2}", "line 1: not YAML: duplicate key 'b'"),
        ("1.5: a\n1.5: b\n", "line 2: not YAML: duplicate key 1.5"),
        ("a: 1\nb: \0", "line 2: not YAML: the character"),
        ("a: !!python/name:os.system x", "line 1: not YAML: could not determine a constructor"),
        (BOMB, "line 5: the aliases stand for more than 10000 values"),
        ("a: &a [*a]", "line 1: an alias stands inside its own value"),
        ("#" * (MAX_CHARS + 1), "file: is longer than 1000000 characters"),
    ],
    ids=lambda value: value[:20].strip() if value in (BOMB,) or len(value) < 100 else "long",
)
def test_text_that_cannot_be_used_is_one_error_with_line_and_reason(text: str, problem: str) -> None:
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_alias_of_a_few_values_is_read() -> None:
    assert read_yaml("a: &week [8, 17]\nb: *week\n") == {"a": [8, 17], "b": [8, 17]}


@given(st.one_of(st.text(max_size=80), st.text(alphabet="a1-:[]{}&*!#|>,. \n\"'", max_size=80)))
def test_any_text_is_read_or_refused_and_never_another_error(text: str) -> None:
    with contextlib.suppress(YamlError):
        read_yaml(text)
