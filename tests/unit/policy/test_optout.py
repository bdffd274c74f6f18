"""Words that stop, start and ask for help, as people write them."""

import pytest

from services.policy.optout import Keyword, read_keyword


@pytest.mark.parametrize(
    "body",
    [
        "STOP", "stop", " Stop. ", "STOP!!!", "S.T.O.P", "Stopall", "stop all", "UNSUBSCRIBE", "Cancel", "END", "quit",
        "Revoke", "OPTOUT", "opt out", "Opt-Out", "opt\u2010out", "STOP PLEASE", "please stop", "Stop, thanks",
        "Stop texting me", "stop sending me these messages", "please opt me out", "Don\u2019t text me again",
        "do not contact me", "take me off your list", "No more texts!", "I want to unsubscribe", "stop\n",
    ],
)  # fmt: skip
def test_text_that_asks_to_stop_is_an_opt_out(body: str) -> None:
    assert read_keyword(body) is Keyword.STOP


@pytest.mark.parametrize(
    "body",
    [
        "", "Can I stop by tomorrow?", "I'll be at the end of the street", "When does the rate lock end?",
        "I had to cancel my other appointment", "helpful, thanks", "start date is May", "yes please call me",
        "The other lender quit on us", "info about refinancing?",
    ],
)  # fmt: skip
def test_text_about_something_else_is_no_keyword(body: str) -> None:
    assert read_keyword(body) is Keyword.NONE


@pytest.mark.parametrize(
    ("body", "keyword"),
    [("START", Keyword.START), ("Unstop.", Keyword.START), ("yes", Keyword.YES), ("Help!", Keyword.HELP),
     ("INFO", Keyword.HELP)],
)  # fmt: skip
def test_other_keywords_are_read_alike(body: str, keyword: Keyword) -> None:
    assert read_keyword(body) is keyword


def test_what_the_carrier_has_acted_on_wins() -> None:
    assert read_keyword("arr\u00eater", "STOP") is Keyword.STOP
