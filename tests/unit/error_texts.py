"""What no message to a person may hold."""

import re
from typing import Final

FOR_PROGRAMMERS: Final = re.compile(
    r"\^|\\d|\[a-z|\[0-9|pattern|regex|Input should|is wrong \(|Traceback|\[Errno|codec|Error\(|Value error|recursion",
    re.IGNORECASE,
)


def assert_for_people(*messages: str) -> None:
    """Fail on a regular expression, a library's own words, or an error that the translator has no words for."""
    assert messages
    assert [message for message in messages if FOR_PROGRAMMERS.search(message)] == []
