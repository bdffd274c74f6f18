"""Opt-outs as people write them, and texts that only look like one."""

import pytest

from services.policy.reading.optouts import OptOutReading, read_opt_out


@pytest.mark.parametrize(
    "body",
    [
        "STOP - Dave",
        "ok stop",
        "Stop. I already have a loan",
        "STOP Dave",
        "Stop\n--\nDave Miller\nMiller Plumbing",
        "lose my number",
        "stop\nSent from my iPhone",
        "\u0405top",
        "\U0001d412\U0001d413\U0001d40e\U0001d40f",
        "\U0001f6d1",
        "S T O P",
        "st0p",
        "plz stp",
        "unsuscribe",
        "please dont text me anymore",
        "not interested, take me off your list",
        "this is harassment",
        "my lawyer will contact you",
        "TCPA",
        "I'm on the do not call list",
        "who is this? stop texting me",
        "wrong number stop",
        "stop f***ing texting me",
    ],
)
def test_whoever_means_stop_is_understood(body: str) -> None:
    """Fact M2: an opt-out is honored at once, in whatever words it comes."""
    assert (read_opt_out(body).optout, read_opt_out(body).scope) == ("stop", "all")


@pytest.mark.parametrize(
    "body",
    [
        "ALTO",
        "Parar",
        "basta ya",
        "no m\u00e1s",
        "ya no me manden mensajes",
        "qu\u00edteme de su lista",
        "dejen de escribirme",
        "d\u00e9jeme en paz",
        "dar de baja",
        "no quiero m\u00e1s textos",
        "borre mi n\u00famero",
        "n\u00famero equivocado, no manden m\u00e1s mensajes",
        "stop por favor",
    ],
)
def test_stop_in_spanish_is_a_stop(body: str) -> None:
    """Fact M2: an opt-out is honored at once, in whatever language it comes."""
    assert read_opt_out(body).optout == "stop"


@pytest.mark.parametrize(
    "body",
    [
        "Can I stop by tomorrow?",
        "I can't stop thinking about that house",
        "take me off the loan with my ex",
        "remove my ex from the mortgage",
        "unsubscribe me from your e-mails but texts are fine",
        "how do I cancel PMI",
        "quit claim deed",
        "end of the month",
        "please don't stop texting me",
        "don't call before 9",
        "my attorney will review the contract",
        "the other lender won't stop calling me",
        "cancel my 3pm, 5pm works better",
        "no puedo parar de pensar en esa casa",
        "para comprar casa",
        "no mand\u00e9 el recibo",
        "el inter\u00e9s est\u00e1 muy alto",
        "not interested",
        "wrong number",
        "",
        "spam folder had your email",
        "Thank you, this is Sue",
        "it says reply STOP to opt out, is that for me?",
    ],
)
def test_text_about_something_else_is_nothing(body: str) -> None:
    assert read_opt_out(body) == OptOutReading("none")


@pytest.mark.parametrize(
    ("asks", "does_not"),
    [
        ("Still getting these texts", "Still getting these docs together"),
        ("Please don't contact me again", "Please don't contact me before 9"),
        ("don't send me these links anymore", "don't send me the link, email it"),
        ("you keep contacting me at work, stop it", "you keep contacting me at work, call my cell instead"),
        ("You guys keep texting the wrong person", "You guys keep texting the wrong time, make it 6pm"),
        ("can you make these texts stop", "My old lender keeps texting me, can you make them stop"),
        ("I already have a lender, please remove", "I want to remove pmi, please remove"),
        ("My house is paid off, please remove", "the late fee showed up again, can you please take off"),
        ("don't contact me now or ever", "don't contact me at work, use my cell"),
        ("I want this to stop now", "can we keep this moving, don't stop now"),
        ("sigo recibiendo sus mensajes", "todav\u00eda me siguen pidiendo papeles del banco"),
        ("b\u00f3rreme por favor", "quiero quitar el PMI, qu\u00edtelo por favor"),
    ],
)
def test_stop_is_told_from_what_looks_like_it(asks: str, does_not: str) -> None:
    """Fact M2: whoever asks to be left alone is, and nobody is dropped who says when, where or what else."""
    assert read_opt_out(asks).optout == "stop"
    assert read_opt_out(does_not) == OptOutReading("none")


@pytest.mark.parametrize(
    "body",
    [
        'Liked "Sorry I missed your call. Reply STOP to opt out"',
        "Le gust\u00f3 \u201cResponda ALTO para cancelar\u201d",
        "\u2764\ufe0f to \u201c Reply STOP to opt out \u201d",
        "I'm driving with Focus turned on. I'll see your message when I get where I'm going.",
        "> Reply STOP to opt out\nRefinance please",
        "Auto-reply: out of the office until Monday. Reply STOP to end these notices.",
        "Message not delivered: message blocking is active",
    ],
)
def test_words_that_a_machine_wrote_or_that_are_ours_are_no_stop(body: str) -> None:
    assert read_opt_out(body) == OptOutReading("none")


def test_stop_behind_a_quotation_of_ours_is_a_stop() -> None:
    assert read_opt_out('"Are you looking to buy? Reply STOP to opt out" STOP').optout == "stop"


@pytest.mark.parametrize(
    ("body", "scope"),
    [
        ("Don't call, text", "call"),
        ("no phone calls please, text only", "call"),
        ("no me llamen, solo mensajes", "call"),
        ("stop calling me", "call"),
        ("Don't text, call me", "text"),
        ("no texts please call instead", "text"),
        ("no me texteen, ll\u00e1meme", "text"),
        ("stop calling and texting me", "all"),
        ("no me llamen ni me escriban", "all"),
        ("dont call or text me", "all"),
        ("STOP", "all"),
    ],
)
def test_stop_says_what_of(body: str, scope: str) -> None:
    assert (read_opt_out(body).optout, read_opt_out(body).scope) == ("stop", scope)


@pytest.mark.parametrize(
    "body",
    [
        "Reply STOP to opt out",
        "I have a lawyer",
        "do not reply",
        "the STOP thing here",
        "How can we stop this",
        "stop, I meant Monday not Tuesday",
        "hold on stop, wrong file, I'll resend",
    ],
)
def test_text_that_may_mean_stop_is_a_doubt(body: str) -> None:
    assert read_opt_out(body).optout == "doubt"


@pytest.mark.parametrize(
    ("body", "optout"),
    [
        ("START", "start"),
        ("unstop please", "start"),
        ("opt me back in", "start"),
        ("HELP", "help"),
        ("ayuda", "help"),
        ("start date is May", "none"),
    ],
)
def test_start_and_help_are_read(body: str, optout: str) -> None:
    assert read_opt_out(body).optout == optout


def test_every_reading_but_none_says_why() -> None:
    assert read_opt_out("lose my number").why == "lose_my_number"
    assert read_opt_out("hello").why == ""


@pytest.mark.parametrize(
    "unit", ["stop ", "do not ever you ", "no ", 'Liked "', "\U0001f44d", "1 ", "> \n", "from the ", "please "]
)
def test_longest_text_that_can_arrive_is_read(unit: str) -> None:
    """An answer at all is the promise here: no pattern may take more than linear time (`read` is cut to 2,000 characters)."""
    assert read_opt_out((unit * 10_000)[:10_000]).optout in ("none", "stop", "doubt")


def test_stop_at_the_end_of_an_overlong_text_is_seen() -> None:
    assert read_opt_out("the house on Elm street is nice. " * 200 + "Please take me off your list.").optout == "stop"
