"""Where the invented callers are from, and what they say to a machine."""

import random
from typing import Final

AREA_CODES: Final = {
    "new-york": (
        "212", "646", "917", "718", "347", "929", "332", "516", "631", "914", "845", "201",
        "973", "908", "732", "551", "609", "203", "860", "305", "561", "954", "407", "617",
    ),
    "denver": (
        "303", "720", "970", "719", "801", "385", "435", "505", "575", "214", "512", "713",
        "210", "972", "817", "307", "308", "402", "605", "701", "316", "913", "816", "406",
    ),
    "los-angeles": (
        "213", "310", "323", "424", "562", "626", "714", "818", "949", "909", "951", "805",
        "619", "858", "415", "510", "408", "702", "775", "602", "480", "206", "253", "503",
    ),
}  # fmt: skip
"""Of each branch's region, neighbouring zones among them: people keep their number when they move."""

_NAMES: Final = (
    "Maria", "Kevin", "Aisha", "Tom", "Grace", "Luis", "Hannah", "Darnell", "Wei", "Olivia", "Sam", "Nadia",
    "Pete", "Joy",
)  # fmt: skip
_WISHES: Final = (
    "I'm looking to get pre-approved, we want to start looking at houses this spring.",
    "I had a question about refinancing my current mortgage.",
    "my realtor gave me your name, we found a place and need to move fast.",
    "I talked to someone last week about a purchase and wanted to follow up.",
    "we're first time buyers and have no idea where to start.",
    "I'm calling about a home equity line.",
    "I already applied somewhere else but I'd like a second opinion.",
    "I wanted to ask what documents you need from me.",
    "I'm moving out of state in about six months and want to plan ahead.",
    "I'm a veteran and was wondering about a VA loan.",
)
_ENDINGS: Final = (
    "Please call me back when you can.", "Evenings work best for me.", "Thanks, bye.", "Call me any time before noon.",
    "You can text me too.", "Talk soon.",
)  # fmt: skip


def voicemail_words(rng: random.Random) -> str:
    """Return a voicemail as a machine would have written it down."""
    return f"Hi, this is {rng.choice(_NAMES)}, {rng.choice(_WISHES)} {rng.choice(_ENDINGS)}"
