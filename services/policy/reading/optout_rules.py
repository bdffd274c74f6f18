"""Which words of a clause ask us to stop: rules as data, each with the name that is stored beside the decision.

A rule is looked for in each clause of a plain text (`normal`). What stands before a match (`cant stop`, `they won't stop`)
or after it (`off the mortgage`, `text me before 9`) can take it back; those guards are here too.
Source: 47 CFR 64.1200(a)(10): stop, quit, end, revoke, opt out, cancel and unsubscribe always count, and so does whatever a
reasonable person would read so.
"""

import re
from dataclasses import dataclass
from typing import Final

_NEVER: Final = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """One way of asking us to stop.

    Attributes:
        id: stored as the reason.
        asks: found in a clause that asks.
        unless: found in the clause, takes it back.
        unless_in_text: found anywhere in the text, takes it back.
        is_doubt: whether it may mean something else.
        is_imperative: whether a subject before it (`I don't text and drive`) makes it a statement.
        is_command: whether a `don't` right before it turns it round.
    """

    id: str
    asks: re.Pattern[str]
    unless: re.Pattern[str] = _NEVER
    unless_in_text: re.Pattern[str] = _NEVER
    is_doubt: bool = False
    is_imperative: bool = False
    is_command: bool = False


_TEXT: Final = r"(?:text\w*|messag\w*|sms\w*|mensaj\w*)"
_ANNOY: Final = (
    r"(?:both\w+ (?:me|us|this)|bother|spam\w*|harass\w*|bug(?:ging)? (?:me|us)|hound\w*|stalk\w*|wasting my time|being annoying|market\w*|pester\w*|hassl\w+|annoy\w*|solicit\w*|hitting (?:me|us) up|hit (?:me|us) up|"
    r"blow\w* up|reach\w* out|trying to reach|communicat\w*|contact\w*|writ(?:e|ing) (?:me|to me|back|us|again|this)|"
    r"send\w* (?:me |us |all |any |more |these |those |this |the |your |out |mass )*(?:text\w*|messag\w*|sms|stuff|crap|shit|spam|these|this|anything|links|things|junk|notifications|reminders|offers)|"
    r"send\w*(?: me| us)?$|mandando|enviando|textear\w*)"
)
_WORDS_BETWEEN: Final = (
    r"(?:all|these|those|this|the|your|any|with|me|us|fucking|freaking|damn|stupid|goddamn|further|of|more|my|phone|trying to|mass|bloody|"
    r"constantly|constant|endless|unwanted|unsolicited|calls? and|calling and|texts? and|marketing|automated|random|daily|sales|spam)"
)
_PHONE: Final = r"(?:phone(?: number)?|number|cell|line|phones|#|num)"

OTHERS: Final = re.compile(
    r"\b(?:other (?:\w+ )?(?:lender|bank|compan|call|broker|people|one|guy)\w*|(?:he|she|they|theyre) (?:\w+ )?(?:keeps?|stop|stops|stopped|wont|cant|never|calls?|texts?|are|said|told)|rocket|quicken|chase|zillow|redfin|"
    r"wells|everyone else|trigger|bureaus?|my (?:realtor|agent|husband|wife|ex|bank|old|previous)|the (?:bank|broker|realtor|agent|rain|baby|seller)|"
    r"kids|told (?:them|him|her|the)|from (?:lenders|everyone|others|other)|those|credit pull|el broker|lenders)\b"
)
"""Somebody else, whom the borrower wants to stop."""

EMAIL: Final = re.compile(
    r"\b(?:e ?mails?|emailing|e mailing|mailing|mail|letters|paper|postal|newsletter|correos?|sending mail)\b"
)
TEXTS_ARE_FINE: Final = re.compile(
    rf"\b(?:{_TEXT}|txt) (?:is|are|r|works?|me|instead)?(?: ?(?:totally|just|still|better|perfectly))? ?(?:fine|okay|ok|good|works?|better|me|instead|only|the link)\b"
    rf"|\b(?:just|only|please|solo|can|you can|use this number) ?(?:use )?(?:{_TEXT}|txt)\b(?! me again)|\b(?:solo|por) {_TEXT}|\btexto\b|\buse this number\b"
    rf"|\b{_TEXT} (?:only|solamente|nomas)\b|^{_TEXT} me$|mandeme texto"
)
DOCS: Final = (
    r"(?:forms?|docs|documents?|paperwork|statements?|contracts?|disclosures?|bills?|checks?|letters?|faxe?s?)"
)
_LOAN: Final = (
    r"(?:loan|mortgage|title|deed|note|application|house|home|co ?sign\w*|borrower|co ?borrower|lease|hold|file|account|escrow|pmi|mip|"
    r"insurance|contingency|lien|credit|report|arm|balloon|rate|collection|inquiry|points|fees?|zillow|market|approval|policy|will|trust|phone with|refi)"
)
_LATER: Final = (
    r"(?:(?:through|thru|via|at) (?:my |the )?(?:office|job|employer|agent|realtor)|before|until|till|til|after(?! (?:this|that|today|now)$)|while|during|between|at work|(?:on )?(?:mon|tues|wednes|thurs|fri|satur|sun)days?|at night|on sundays?|on weekends?|in the (?:morning|evening|afternoon)|"
    r"right now|now|today|tonight|so late|so early|late|early|at \d+)"
)
_CLOCK: Final = (
    r"(?:(?:before|until|till|til|after|between|at) (?:about |around )?(?:\d|noon|midnight|lunch|work|school|church|dinner|breakfast|tomorrow|next|mon|tue|wed|thu|fri|sat|sun|i (?:get|land|finish|wake|sign|close)|im (?:off|home|back|done|out|up))|"
    r"(?:while|during) |in the (?:morning|evening|afternoon)|(?:on )?(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|(?:so |too |this |that )?(?:late|early))"
)
_EVER: Final = r"(?:ever|anywhere|anything|at all)"
PAPERS: Final = re.compile(
    r"\b(?:co ?sign\w*|co ?borrower|title|deed|escrow|pmi|mip|insurance|contingency|lien|report|collection|inquiry|points|fees?|forms?|(?:middle|maiden|last) name|clause|charges?)\b"
)
"""What may be removed from a file without anybody asking us to stop."""

LOAN: Final = re.compile(rf"\b{_LOAN}\b")
"""What a `remove` may be about, or what a borrower says that he does not need."""
_ANOTHER_WAY: Final = re.compile(
    r"\b(?:call|text|use|try|reach|contact) (?:me |us )?(?:on |at )?my (?:cell|mobile|work|home|other|new|desk|office|husband|wife)\b|\bmake it \d|\buse this number\b|\bthe new (?:one|number) is\b"
)
"""He says how he wants to be reached: a complaint about where or when, no stop."""
_THEIRS: Final = r"(?:my (?!phone|number|cell|line|husband and)\w+|the (?!phone)\w+|(?:him|her|them|his)\b|and drive|anything to|anyone|while driving|a |docs|in|on)"

BEFORE: Final = re.compile(
    r"\b(?:cant|couldnt|could not|can not|didnt|did not|doesnt|wont|wouldnt|never|not|dont|do not|no need to|need not|nothing will|nothing|"
    r"to not|what would|why did you|did you|did you guys|will you|should (?:i|we)|(?:do|can|could|will|would|may|must) (?:i|we) (?:have to |need to )?|"
    r"before (?:i|we)|when (?:should|do|does) (?:i|we)?|(?:i|we) (?:had|need|want|have) to|(?:i|we)(?: ll| will|ll)?|ill|well|gonna|"
    r"going to|trying to|ready to|able to|like to|want to|have to|no(?= deje| para| paren))\s(?:\w+\s)?$|\b(?:bus|pit|one|full|quick|last|next|first|my|a)\s$"
)
"""Words before a verb of stopping that make it somebody's own stop, or none: tested on what stands before the match."""

TURNED_ROUND: Final = re.compile(r"\b(?:dont|do not|didnt|did not|never|not)\s$")
"""`don't remove my name`."""

OWN_HABIT: Final = re.compile(r"\b(?:i|we|they|he|she|really|also|never got|who|phone)\s$")
"""`I don't text and drive` speaks of the writer himself."""

STOP_VERBS: Final = (
    StopRule(
        id="stop_texting",
        asks=re.compile(
            rf"\b(?:stop|quit|cease|discontinue|halt|end|cancel|quitting|stopping)\s(?:{_WORDS_BETWEEN}\s)*(?:{_TEXT}|{_ANNOY}|send\w* me)"
        ),
        unless=re.compile(rf"\b{_TEXT} (?:my (?!phone|number|cell|mom|dad)\w+|and drive)\b|contact my (?!phone|number|cell|self)|texting my (?!phone|number)|send\w* (?:me |us )?(?:the |my |a |that )?(?:\w+ )?{DOCS}\b"),
    ),
    StopRule(id="stop_it", asks=re.compile(r"^(?:\w+ ){0,3}(?:stop|quit) (?:it|this|that|doing this|already|all|everything|now|immediately|asap)(?: (?:now|please|already|all|immediately|ok|asap))*$"), unless=re.compile(r"^how \w+ we |^(?:\w+ ){0,2}(?:dont|do not|never|cant|wont|not) (?:stop|quit)\b")),
    StopRule(
        id="stop_please",
        asks=re.compile(
            rf"\b(?:if you|that you|you) (?:could |would |please )?stopped (?:{_TEXT}|{_ANNOY})|\b(?:were|was|been|be) told to stop\b"
            rf"|\bhow (?:do|can|would|could) (?:i|you) (?:make |get |please )?(?:this |these |it |the texts |the messages )?(?:to )?stop(?: (?:this|these|it|getting these|getting this))?$"
            rf"|\bhow (?:do|can|would|could) (?:i|we|you) (?:please )?stop (?:getting )?(?:these |the |your |all )+{_TEXT}$"
            rf"|(?<!how )\b(?:can|could|will|would) (?:we|you|someone|ya|yall) (?:please )?stop(?: with)?(?: (?:this|these|it|the|your))?(?: {_TEXT}|$)|\bplease stop (?:them|these|those|this|that|it|all)\b"
            rf"|\brefrain from (?:{_TEXT}|{_ANNOY})|\bstop k\b|^(?:please )?stop with (?:this|it|that)$|\bcancel (?:this|my) (?:number|subscription|texts|phone)\b"
        ),
    ),
    StopRule(id="stop_both", asks=re.compile(r"\b(?:stop|quit|cease) (?:calling|calls) (?:and|or|&) (?:texting|texts|messaging)\b|\b(?:cease|stop) (?:and|&) desist\b|\bdesist$|\bcease (?:all )?(?:further )?(?:contact|communicat\w+)")),
)  # fmt: skip

STOP_RULES: Final = (
    StopRule(
        id="no_calls_or_texts",
        asks=re.compile(
            r"\b(?:do not|dont|never|not|no|stop|quit|cease)\s(?:ever |more |any |all |want |be )*"
            r"(?:(?:call\w*|phone|ring) (?:me |us |this number |back )?(?:or|and|nor|&|y|ni)(?: dont| do not| never| no)? (?:text\w*|messag\w*|txt\w*|sms)"
            r"|(?:text\w*|messag\w*|contact\w*|txt\w*) (?:me |us |this number )?(?:(?:or|nor|&)(?: dont| do not)? (?:call\w*|phone|ring)|and (?:calling|calls|dont call|do not call)))\b"
        ),
        unless=re.compile(rf"\b{_LATER}\b|{OTHERS.pattern}"),
        is_imperative=True,
    ),
    StopRule(
        id="do_not_text",
        is_imperative=True,
        asks=re.compile(
            rf"\b(?:do not|dont|never|not to|please not|you not|didnt want you to|nunca|please dont|no need to keep|need to keep|"
            rf"(?:dont|do not|no) (?:need|have) (?:for you )?to(?: keep)?|no need to)\s(?:ever |you |again |please |you guys |keep |fucking |bother |even )*"
            rf"(?:text\w*|messag\w*|sms|contact\w*|bother(?! with)\w*|harass\w*|spam\w*|solicit\w*|writ(?:e|ing)|reach out|test me|send\w* (?:me |us |any |more )*{_TEXT})\b(?! {_THEIRS})"
        ),
        unless=re.compile(rf"\b(?:text\w*|messag\w*|contact\w*|write) (?:(?:me|us|this {_PHONE}|here|or|and|call) )*{_LATER}\b(?!.* {_EVER}\b)|didnt mean|not texting while|dont know|hesitate|\byou (?:never|didnt|did not|havent) (?:\w+ed|sent)\b"),
    ),
    StopRule(
        id="not_my_family",
        asks=re.compile(r"\b(?:do not|dont|never|stop|quit) (?:text|message|contact|texting|messaging|contacting) my (?:husband|wife|mom|mother|dad|father|family|kids?|son|daughter|parents)\b"),
        unless=re.compile(rf"\bwork\b|\b{_LATER}\b|surprise"),
        unless_in_text=re.compile(r"\b(?:text|message|contact) me\b"),
        is_doubt=True,
    ),
    StopRule(
        id="do_not_text_for_now",
        is_imperative=True,
        asks=re.compile(rf"\b(?:do not|dont|never)\s(?:ever )?(?:text|message|contact|write) (?:me |us )(?!{_CLOCK}){_LATER}\b"),
        unless_in_text=_ANOTHER_WAY,
        is_doubt=True,
    ),
    StopRule(
        id="do_not_send",
        is_imperative=True,
        asks=re.compile(
            rf"\b(?:do not|dont|never|not to)\s(?:ever )?send (?:me |us |any |more |anymore |out |these |those |this |that |your |the |no |another |one |single |further |kind |sort |type |of |this (?:number|phone) )*"
            rf"(?:{_TEXT}|(?:anything|nothing)\b(?! (?:yet|until|till|before|to (?!this|me|us|my phone)|\w+ing\b))|(?:me|us|any|one|that|this|these|those)(?: (?:again|ever|at all|now|please|anymore))*$|more|things?|links|anymore|"
            r"(?:\w+ )?(?:stuff|crap|shit|junk|offers|ads?|promo\w*|advert\w*|solicit\w*|alerts|notifications|spam))\b(?! (?:to (?!this|me|us)|until|till|yet|my|docs|paper))"
            r"|\b(?:do not|dont|never) send [\w ]{0,40}\banything else$"
        ),
        unless=re.compile(rf"{EMAIL.pattern}|\byou (?:guys )?never\b"),
    ),
    StopRule(
        id="do_not_want",
        asks=re.compile(
            rf"\b(?:dont|do not|never|no longer|didnt|did not|not)\s(?:want|wanna|wish|care|need|like|wanted|appreciate|want you)(?: to)?\s"
            rf"(?:receiv\w+ |reciev\w+ |get |getting |be |any |more |your |you |these |those |this |the |from |further |more of |of |all |me |us |unsolicited )*"
            rf"(?:{_TEXT}|contact\w*|hear(?:ing)? from (?:you|your|this|any)|spam|bothered|these(?: anymore| from you)?$|this anymore$|get these|communicat\w+|solicit\w*)"
        ),
        unless=EMAIL,
    ),
    StopRule(
        id="too_many",
        asks=re.compile(
            rf"\b(?:sick|tired|done|fed up|annoyed|over it|had enough|enough|too many|so many|bored)\s(?:of |with |by |getting |all |receiving )*"
            rf"(?:these |those |the |your |you |stupid |all |texting |from you )*(?:{_TEXT}|spam)"
        ),
        unless=re.compile(rf"\bnot enough\b|\bsorry\b|just saw|from (?!you|your|this|u\b)|good enough|{OTHERS.pattern}"),
    ),
    StopRule(
        id="you_should_stop",
        asks=re.compile(
            r"\b(?:you|yall|you guys|you people|this|it|these|this shit|this crap|everyone)\s(?:guys |all |people |really |both )?"
            r"(?:need to|needs to|must|have to|has to|should|can|better|gotta|got to|could)\s(?:please |just |all |now |really )*stop"
            r"(?: (?:now|this|it|already|please|this now|immediately|trying))*$"
            r"|\bmake (?:it|this|these|(?:the |these |your )(?:texts|messages|texting)) (?:stop|end)\b|\b(?:this|it|these|that) (?:really )?(?:needs?|has|have|must|got) (?:to )?(?:end|stop)(?: now)?$|\b(?:i|ive|have|already) (?:already )?(?:said|told you|asked you(?: guys)?)(?: \w+)? (?:to )?stop\b"
            r"|\b(?:said|told you to|asked you to|asked you twice to|i want (?:this|it|these|you) to) stop\b"
        ),
        unless=re.compile(r"\bother\b|\bmy \w+ said stop|\bhow (?:do|can)\b|lenders|told (?:them|him|her)"),
    ),
    StopRule(id="make_them_stop", asks=re.compile(r"\bmake them (?:stop|end)\b"), unless_in_text=re.compile(rf"{OTHERS.pattern}|\b(?:my|some|another|a|other) (?:\w+ ){{1,3}}keeps?\b")),
    StopRule(
        id="you_keep",
        asks=re.compile(
            rf"\b(?:why (?:do|are|would) you (?:guys |people )?(?:keep|still)|you (?:guys |people )?(?:keep|are still|still|wont stop)) (?:{_TEXT}|{_ANNOY})\b"
            r"(?! (?:me |us )?(?:the wrong (?!number|person|guy|one|\w+$)|the wrong (?:time|day|date|form|link|address|email|hours?|file|name)\b|that (?:dont|do not|wont)))"
        ),
        unless=re.compile(rf"{OTHERS.pattern}|\babout (?:a |the )?\w+ but (?:im|i|we|were)\b(?! (?:not|dont|never|do not|am not))"),
        unless_in_text=_ANOTHER_WAY,
    ),
    StopRule(
        id="no_wish",
        asks=re.compile(
            rf"\bbetter not (?:get|receive|hear|see)\b|\blast time (?:i|we) (?:want|wanna|ever want) to hear\b|\b(?:rather|prefer|want) (?:not|you not) (?:to )?(?:get|receive|be getting|be texted|be contacted|text|have) ?(?:these|this|any|your)? ?(?:{_TEXT}|contact\w*|these|this)?$"
            rf"|\b(?:no|not) text me\b|\bnot to be (?:contacted|texted|bothered|messaged)\b|\b(?:dont|do not|not) (?:\w+ )?(?:get|receive) any ?more (?:of )?(?:these |your )?{_TEXT}|\bget (?:these|this|your|those) (?:{_TEXT}|shit|crap|spam) off\b"
            rf"|\byou(?:re| are) (?:both\w+|spam\w+|harass\w+|pester\w+)"
            rf"|\b(?:(?:not )?one more|another) (?:text|message) (?:and|or|ill|i will)\b|\bnot (?:one|another) (?:single )?(?:more )?(?:text|message)\b|\b(?:if you )?(?:text|message|contact) me again (?:and|ill|im|i will|i am|or)\b"
            rf"|\b(?:should not|shouldnt|not supposed to|dont want to) be (?:on (?:this|your|the|any) (?:\w+ )?list|(?:getting|receiving) (?:these|this|your|any|the)?(?: ?{_TEXT})?$)|\b(?:you|this|it|these|yall) (?:\w+ )?(?:never|wont|going to|gonna) stop(?: {_TEXT}| {_ANNOY}|$)|\bwont you stop (?:{_TEXT}|{_ANNOY})"
            rf"|\b(?:text|texting|message|messaging|send) (?:me )?(?:way |so |too )*(?:too|so|way) (?:much|often|many)\b"
            rf"|\b(?:dont|do not|no longer) want (?:anything|nothing|to (?:talk|speak|do business)) (?:else )?(?:from|to|with) (?:you|this|yall)\b|\bno interest in (?:hearing|talking|your {_TEXT}|these)|\b(?:{_TEXT}|these) (?:is|are) (?:unwanted|unwelcome|not (?:wanted|welcome))\b"
            rf"|\b(?:no ?one|nobody) wants? (?:these|your|this)\b|\b(?:dont|do not|not to) continue (?:to )?(?:{_TEXT}|{_ANNOY})|\b(?:asking|ask|asked|telling|begging|told|been asked|been told) (?:you )?(?:\w+ )?to stop\b|\bnever want (?:a|another|any|one) (?:\w+ )?{_TEXT}|\bi told (?:you|your company|you guys|you people) no\b|\bwant no (?:more )?(?:further )?(?:contact|{_TEXT}|communication)|\bend (?:this|all|the) (?:conversation|communication|chat|thread)\b"
            rf"|\bcancel me(?: out| from (?:this|these|your list)| please)?$|\bremoved please\b"
            rf"|\b(?:dont|do not) disturb (?:me|us)\b|\bstill getting (?:these$|(?:(?:all|these|this|your|any|the|damn|stupid|fucking) )*(?:{_TEXT}\b(?! codes?)|spam|garbage|junk|crap|shit))"
        ),
        unless=OTHERS,
    ),
    StopRule(
        id="turn_off",
        asks=re.compile(
            rf"\bstop (?:receiving|getting) (?:all |these |this |your |any |the |more )*(?:{_TEXT}|these|this|spam|any)?$|\b(?:these|this|it|{_TEXT}) to (?:stop|end)$"
            rf"|\b(?:discontinue|end|cancel|terminate|stop) (?:this |my |the |your |all )*(?:service|services|subscription|alerts|notifications|updates)$"
            rf"|\b(?:turn|shut|switch) (?:these|this|it|the|all|your|{_TEXT}|notifications|alerts)(?: {_TEXT}| alerts)? off$|\b(?:turn|shut|switch) off (?:all |the |these |your )*(?:these|this|{_TEXT}|notifications|alerts)$|\b(?:turn|shut) (?:these|this|it|them) off\b"
            rf"|\bdisable (?:these|this|the|all|{_TEXT}|alerts|notifications)|\b(?:unenroll|unlist|deregister|disenroll)\b|\b(?:dont|do not) send(?: any| anymore)?$|\benough (?:with|of) (?:this|these|it|that|your)\b"
            rf"|\b(?:take|get|remove) (?:me|us|my \w+|this number) of (?:your|this|the) list"
        ),
        unless=re.compile(rf"autopay|{OTHERS.pattern}"),
    ),
    StopRule(
        id="leave_alone",
        asks=re.compile(r"\bleave (?:me|us|my (?:phone|husband|wife|mom|mother|dad|family|kids?|son|daughter)|this (?:number|phone))(?: the \w+| tf| fucking)*\s?(?:the (?:hell|fuck) )?alone\b|\bleave (?:me|us) be$"),
        unless=re.compile(rf"wont leave|tell |doesnt leave|never leave|{OTHERS.pattern}"),
    ),
    StopRule(
        id="go_away",
        asks=re.compile(
            r"^(?:please |just |ok |you can |and )*(?:go away|get lost|beat it|buzz off|bug off|piss off|back off|screw off|screw you|"
            r"f off|fuck off|eff off|fuck you|f you|fu|kick rocks|shut up|get a life|bye felicia|hard pass|stfu|gtfo|stay away(?: from (?:me|us))?|get (?:out of|off) my phone|stay out of my (?:messages|phone)|let me out of this|(?:im |i am |we are )?not (?:your|a) customer)(?: now| please| already)*$"
            r"|\bfuck (?:off|you)\b|\b(?<!i )(?<!we )(?:go away|get lost|buzz off|bug off|piss off)$|\bknock it off\b|\bcut it out\b|\bgive it (?:a rest|up)$"
        ),
    ),
    StopRule(
        id="lose_my_number",
        is_command=True,
        asks=re.compile(
            rf"\b(?:lose|forget|delete|erase|scrub|remove|drop|pull|wipe|clear|trash|purge|discard|get rid of|throw (?:away|out)|toss|tear up|rip up|burn|shred|scrap|strike|scratch)\s"
            rf"(?:out )?(?:all )?(?:of )?(?:my|this|our|ur)\s(?:phone |cell |contact |mobile |personal )?(?:{_PHONE}|info|information|contact|contacts|name|digits|data|details)\b|\b(?:remove|delete|erase|drop|take) \d[\d ]{{6,15}}(?: ?(?:off|from|out of) (?:your|the|this)|$)"
            rf"|\b(?:my|this) (?:{_PHONE}|info|name|contact) (?:to be |be )?(?:removed|deleted|erased|taken off)\b|\b(?:remove|delete|lose|forget|erase) (?:the |that )?number\b|\b(?:dont|do not) keep my (?:number|info|information|name|data)\b"
        ),
        unless=re.compile(
            rf"\b(?:from|off|out of|on) (?:of )?(?:my |the |our |his |her |their |a |this |that )?(?:\w+ )?{_LOAN}\b|\b{_LOAN}\b|"
            r"changed|\bnew number\b|\bold\b|told (?:them|him|her)|take my call|forgot\b|\bbank\b|take (?:all )?(?:my|our) (?:info|information|name|data|details) (?:down|over|when|for|and)|update"
        ),
    ),
    StopRule(
        id="remove_me",
        is_command=True,
        asks=re.compile(
            r"\btake all (?:of )?my (?:info|information|data) (?:off|out|down$)|\b(?:remove|delete|erase|drop|pull|scratch|strike|scrub|unlist|deactivate|exclude|purge)\s(?:me|us|myself)\b"
            r"|\b(?:take|get|keep|leave|count|pull)\s(?:me|us|my (?:name|number|info|phone|cell|phone number)|this (?:\w+ )?(?:number|phone)|our (?:name|number))\s"
            r"(?:\w+ )?(?:off|out)\b"
            r"|^(?:\w+ ){0,3}(?:remove|delete|take off|off)\s?(?:from|of)?\s?(?:the|your|this|that|any|all)?\s?(?:text\w*|marketing|sms|call|calling)?\s?(?:lists?|marketing)(?: please)?$"
            r"|\b(?:be|been|getting|get|want|like|wanna be|need to be)\s(?:removed|deleted|taken off|unsubscribed|off (?:this|your|these)|off (?:the|that) (?:\w+ )?list)\b"
            r"|\bwant (?:off|out of) (?:this|your|the|that|these)\b|\boff (?:your|this) (?:\w+ )?list\b"
        ),
        unless=re.compile(
            rf"\b(?:off|out of|from|on|of) (?:of )?(?:my |the |our |his |her |their |a |this |that |an )?(?:\w+ ){{0,2}}{_LOAN}\b|\b(?:off|out) hold\b|\bmy (?:son|ex|dad|mom|sister|brother)\w*\b"
            r"|\bcosign|\bi cosigned|keep me (?:posted|updated)|out (?:to|there|soon)|take me out\b(?! of (?:your|the|this|any))|knocked off|(?:off|out of) (?:the |a )?\d+ year|waiting list|and add|(?:was|were|been|house|it|listing) taken off"
            r"|get (?:us|me) (?:off|out) (?:to|on)\b|out of (?:this|my|our|the) (?:rental|apartment|place|lease|area)"
        ),
    ),
    StopRule(
        id="unsubscribe",
        is_command=True,
        asks=re.compile(r"\bun ?subscri\w+\b|\bdes ?s?uscrib\w+|^ot out|\bopt(?:ing|ed)?[ -]?(?:me |us |my number )?out\b(?! of (?!this|these|the text|your|all|any|text|message|messages|sms|everything|further|receiving|getting|future|it$))|\boptout\b"),
        unless=re.compile(r"\bunsubscribed from (?!this|your|these)|\bif (?:i|we) opt\b|trigger|credit offers|paper|\bwill opting|\bif i (?:reply|opt)|the other|\bjunk mail"),
    ),
    StopRule(
        id="no_consent",
        asks=re.compile(
            r"\b(?:revoke|revoking|withdraw|withdrawing|rescind|rescinding|cancel|retract)\w*\s(?:any |my |all |our |prior )*(?:consent|permission|authorization)\b"
            r"|\b(?:consent|permission) (?:is |has been )?(?:revoked|withdrawn|denied)\b|\bi (?:hereby )?revoke\b"
            r"|\b(?:do not|dont|never|didnt|did not|not)\s(?:ever )?(?:consent\w*|agree[d]? to (?:receive|be|get|this|these|any|texts|you)|authorize\w*|"
            r"(?:give|gave|given|have)\s(?:you |anyone )?(?:guys )?(?:my |any )?(?:consent|permission))"
            r"|\b(?:never|didnt|did not|dont remember|dont recall|not)\s(?:ever )?(?:sign(?:ed|ing)? up|subscrib\w+|ask(?:ed|ing)? (?:for|to be)|request(?:ed|ing)?|opt(?:ed|ing)? in|sign(?:ed|ing)? up)\s?"
            r"(?:for |to )?(?:this|these|it|any|your|texts?|texting|texted|contacted|messages|spam|anything)\b|\bnobody (?:here )?(?:asked|signed up) for\b|^(?:\w+ )?(?:unwanted|unsolicited)(?: texts?| messages?| spam| contact)?$|^not requested$"
            r"|\b(?:never|didnt|did not|dont remember|dont recall) (?:sign(?:ed|ing) up|sign up|opt(?:ed|ing)? in|subscrib\w+|asked for)$|\bno (?:right|permission|consent) to (?:text|contact|message)"
        ),
        unless=re.compile(r"\bcredit\b|\bpull\b|\binquiry\b"),
    ),
    StopRule(
        id="no_more",
        asks=re.compile(
            rf"^(?:please |ok |okay |i said |and |just |thanks |thank you |bye |no |enough |we are all set |im good )*"
            rf"(?:no (?:more|further|new)(?: please| thanks| of (?:this|these|that|your \w+)(?: please| thanks)?)?$|"
            rf"no (?:more |further |new )?(?:of )?(?:your |these |this |the |unsolicited |marketing |stupid )*(?:{_TEXT}|contact|communications?|spam|spamming|solicit\w*)"
            rf"(?: (?:please|thanks|thank you|ever|from you|at all|anymore|or calls?|and calls?|to this number))*$)|\bno (?:more|further) (?:{_TEXT}|contact|spam|communication)"
        ),
        unless=re.compile(r"\bfrom (?:the|my) "),
    ),
    StopRule(
        id="maybe_stop",
        asks=re.compile(r"^(?:off|out|i want out|how \w+ we stop (?:this|it)|spot|atop|strop|not text me|never again|please no|no no no|(?:please )?(?:mute|(?:i )?(?:really )?(?:dont|do not) want (?:this|it|these)(?: anymore)?)|(?:please )?(?:dont|do not) (?:reply|respond|bother)(?: please| back| again)?|(?:this is|you are|youre|so|very|its|it is) (?:so |very |really )?annoying)$"),
        is_doubt=True,
    ),
    StopRule(
        id="spam",
        asks=re.compile(
            r"\b(?:this|these|ur|you|your texts?|its) (?:is|are|r) (?:just |all |total |pure )?spam\b|\breport(?:ed|ing)? (?:as |for |this |you |it |u )*(?:as )?(?:spam|junk)\b"
            r"|\b(?:block|blocking|blocked) (?:you|u|this (?:number|phone)|your number|ur number)\b|\byou(?:re| are)? (?:being )?blocked\b|\bmarked (?:as|you as) spam$"
            r"|^(?:spam|blocked|reported|junk|spammer|spammers)(?: (?:reported|blocked|spam|and reported|and blocked))*$|\breported (?:and )?blocked\b"
        ),
        unless=re.compile(r"\bmy phone\b|by mistake|thought|sorry|accident|marked you as spam (?!$)|not spam|isnt spam|is this spam"),
    ),
)  # fmt: skip

LEGAL_RULES: Final = (
    StopRule(
        id="legal",
        asks=re.compile(
            r"\btcpa\b|\bharass(?:ment|ing)\b|\b(?:will|ill|gonna|going to|i|we|well|and|or|lets|can|could|to) sue(?: you| your| u)?\b|\bsue you\b|\blawsuits?\b|\bclass action\b"
            r"|\bhear from (?:my|our|an) (?:lawyers?|attorneys?)\b|\bmy (?:lawyers?|attorneys?) (?:will|is going to|is gonna|ll) (?:be )?(?:contact\w*|call\w*|hear\w*|su\w+|in touch|reach\w*)"
            r"|\b(?:getting|get|hiring|hire|calling|call|contacting|contact|talking to|consult\w*|notif\w+) (?:a|my|an|our) (?:lawyer|attorney)s?\b|\bhearing from (?:my|our|an) (?:lawyers?|attorneys?)\b|\b(?:lawyers?|attorneys?) (?:has|have|is|are) (?:been )?(?:notified|informed|preparing|ready|filing|suing)\b|\bsmall claims\b|\bviolat\w+ (?:of )?(?:my|our) (?:rights|privacy)\b|\breport\w* (?:you |this )?to (?:the )?(?:fcc|ftc|cfpb)\b|\blegal action\b|\bsee you in court\b|\btake you to court\b"
            r"|\b(?:report\w*|complain\w*|complaint|contact\w*|call(?:ing)?|file\w*|filing|notify\w*|letting|going|sending|turn\w*)\b.{0,40}\b(?:fcc|ftc|cfpb|attorney general|bbb|better business|authorities|regulator)\b"
            r"|\b(?:fcc|ftc|cfpb|attorney general|bbb) (?:complaint|report|violation|will|is)\b|\b(?:i will|ill|will|im|i am|gonna) report(?:ing)? (?:you|u|this|ur)\b|\breporting (?:you|this|u)\b"
            r"|\b(?:this is|thats|its|totally) illegal\b|\b(?:against|breaking|violat\w+) (?:the |federal |any )*(?:law|tcpa|do not call|rules)\b"
            r"|\bdo not call (?:list|registry|registr\w+)\b|\bdnc\b|\b(?:on|add|place|put|to) (?:\w+ ){0,4}(?:do not|dont|no) (?:call|contact|text)(?: list| registry|$)|\bdo not contact list\b|\bnational registry\b|\bdemanda(?:r|re|los|rlos)\b|\bacoso\b|\babogado (?:los|les) (?:va|llam)"
        ),
        unless=re.compile(rf"{OTHERS.pattern}|\b(?:collect\w+|settlement|on my (?:record|credit)|landlord|hoa|builder)\b|(?:lawyer|attorney)s? about the|\bclosing (?:lawyer|attorney)|(?:review|contract|closing|divorce|estate) |credit (?:report|bureau)|\bstate farm\b|reporting to (?!the (?:f|c|a)|fcc|ftc|cfpb)"),
    ),
    StopRule(
        id="legal_mention",
        asks=re.compile(r"^(?:(?:i have |got )?(?:a |my )?(?:lawyer|attorney)|cfpb|fcc|ftc|sue)$|\bcfpb\b"),
        is_doubt=True,
    ),
)  # fmt: skip
