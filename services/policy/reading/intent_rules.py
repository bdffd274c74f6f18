"""The rules of intents as data: what a plain text has to say for each."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from services.policy.reading.interpreter import Kind

IntentRule = tuple[Kind, str | None, re.Pattern[str], float, re.Pattern[str] | None]


def _rule(kind: Kind, value: str | None, asks: str, unless: str | None = None, confidence: float = 0.9) -> IntentRule:
    return kind, value, re.compile(asks), confidence, None if unless is None else re.compile(unless)


_HOUSE: Final = r"(?:house|home|homes|houses|condo|townho\w+|place|property|duplex|apartment|casa|propiedad|condominio)"
_APPROVAL: Final = r"(?:pre ?approv\w*|pre ?qual\w*|approval|preaprobacion)"
_LOAN: Final = r"(?:mortgage|loan|hipoteca|prestamo|payments?|house|home)"
_SOON: Final = r"(?:today|asap|now|tonight|tomorrow|right away|by \d|before \d|by (?:mon|tue|wed|thu|fri|sat|sun)\w*|urgent\w*|immediately|offer|updated)"

RULES: Final[tuple[IntentRule, ...]] = (
    _rule("purpose", "purchase",
        rf"\b(?:buy|buying|bought|purchas\w+|house ?hunting|home ?buyers?|first time buyer|fthb|home shopping|house shopping)\b|\b(?:first|new|second|next) {_HOUSE}\b"
        rf"|\b(?:find|found|searching for|looking (?:for|at)|shopping for|need a mortgage for|build\w*|loved?|on) (?:a |an |our |my |some |the )?(?:new |first |bigger )?{_HOUSE}\b|\b(?:put|make|making|made|submit\w*|write) (?:an )?offers?\b"
        rf"|\boffer (?:in|on|accepted|got accepted|was accepted)\b|\b(?:under|signed a) contract (?:on|for)\b|\b(?:need|want|get|looking for|getting) (?:a |to get |get )?{_APPROVAL}|\btold me to get {_APPROVAL}"
        rf"|\b(?:stop|tired of|quit|done) renting\b|\bown instead of rent\w*|\bhome ?owner\b|\bcompr(?:a|ar|o|ando|e|amos)\b|\bbusc(?:o|ando|amos) (?:una |comprar |una nueva )?{_HOUSE}|\b(?:mi primera|una) casa\b|\bcasa nueva\b|\bconstruction loan\b|\bneed {_APPROVAL} (?:letter )?before we look",
        r"\bbuy ?out\b|\bbuy (?:down|points)|\bcall\w* about|house with|payments? on|first time buyer programs|not buying|no longer buying|decided not|not to buy|already (?:bought|found|closed|own)|on the house we|house is\b|the house\b(?! we (?:love|want))|which house|mi pago de la casa|refinanciar|lower|do not want|new opportunity|pago de"),
    _rule("purpose", "refinance",
        r"\b(?:re ?fi|refis|refinanc\w+|refinanse|refinace|refinac\w+|refinanci\w+|cash ?out|streamline|rate and term|redo my mortgage)\b"
        r"|\b(?:lower|reduce|drop|cut|get) (?:my |our |the |a )?(?:current |monthly |interest |mortgage )*(?:rate|payments?|interest)(?: down)?\b(?! quote)|\bget (?:my|our) rate down\b|\bout of (?:my|our|the) arm\b"
        r"|\b(?:remove|take|get|buy) (?:my |the )?(?:ex|out my ex)\b.*(?:loan|mortgage|title|deed|house|note)?|\bbuy out my ex\b|\bget rid of (?:my |the )?(?:pmi|mortgage insurance)\b|\b(?:remove|drop|cancel) (?:my |the )?(?:pmi|mortgage insurance)\b"
        r"|\bbajar (?:mi|el|la|los|mis) (?:pagos?|interes|tasa|mensualidad)",
        r"\bwhats? the cost|cost to refi|best rate|can you (?:beat|match)"),
    _rule("loan_type", "cash_out", r"\b(?:cash ?out|(?:take|pull|get|taking|pulling) (?:some )?(?:cash|money|equity) out|pull equity)\b"),
    _rule("loan_type", "heloc", r"\b(?:heloc|he loc|home equity|equity (?:line|loan)|line of credit|tap my equity|linea de credito)\b"),
    _rule("loan_type", "va", r"\b(?:va (?:loan|home|benefits?|please|mortgage|refi)|(?:do|a|maybe|using|my|the) va\b|veteran|im a vet|active duty|military)\b|^va$"),
    _rule("loan_type", "fha", r"\bfha\b"),
    _rule("loan_type", "usda", r"\busda\b|\brural loan\b"),
    _rule("loan_type", "conventional", r"\bconventional\b|^conv$"),
    _rule("loan_type", "jumbo", r"\bjumbo\b"),
    _rule("loan_type", "reverse", r"\breverse mortgage\b|\bhipoteca inversa\b"),
    _rule("timeline", "now",
        r"\b(?:asap|as soon as (?:possible|we can|i can)|soon as we can|as fast as possible|right away|immediately|this month|this week|next week|ready now|right now|now ish|very soon|ready to go|lo (?:antes|mas pronto) posible|cuanto antes|ahora mismo|este mes|esta semana|inmediatamente|de inmediato)\b"
        r"|\b(?:in|within|next) (?:the )?(?:next )?(?:a |about )?(?:couple(?: of)?|few|two|2|three|3|1|one) weeks?\b|\bcouple weeks\b|\bnext (?:few|couple) weeks\b|\b(?:in|within|next) (?:a|the next|1|one|30) (?:month|days)\b|^(?:30 days|soon|pronto|1 month|one month)$|\bwithin 30\b|\b(?:by )?the end of (?:this|the) month\b|^yesterday\b",
        r"call (?:me )?(?:back )?(?:asap|right|immediately)|call immediately|\bcan you call\b|not right now"),
    _rule("timeline", "3m",
        r"\b(?:in |within |about |next |unos |en )?(?:(?:a |next |in a )?(?:couple|few)(?: of)?|two|three|2|3|1 ?(?:-|to|or) ?2|2 ?(?:-|to|or)? ?3|1 ?(?:to|-)? ?3|1 ?-? ?2|one to three|dos|tres|unos) (?:months?|meses)\b|\b(?:60|90)(?: ?(?:-|to)? ?90)? days\b|\bwithin (?:60|90)\b|\bnext month or two\b|\bnext quarter\b|\bmonth or two\b|\bnext month\b",
        r"\b(?:3|three) (?:to|-|a)? ?6 (?:months|meses)|behind"),
    _rule("timeline", "6m",
        r"\b(?:(?:3|4|5|three|four|five|cinco|cuatro)(?: ?(?:to|-|or|a))? ?(?:5|6|six|seis) (?:months?|meses)|(?:4|5|6|four|five|six|cuatro|cinco|seis) (?:months?|meses)|half a year|six months|medio ano)\b",
        r"\b6 (?:to |- ?)?12\b|ago"),
    _rule("timeline", "later",
        r"\b(?:next year|another year|in a year|a year (?:or so|from now)|over a year|one to two years|1 2 years|couple (?:of )?years|(?:7|8|9|10|11|12|eight|nine|twelve) months|6 (?:to |- )?12 months|proximo ano|ano que viene|en un ano|\d years?|202[7-9]|203\d)\b|^(?:a|1|one|un) (?:year|ano)$",
        r"\byears? (?:self|on|at|in|rate|fixed|ago)|\b(?:15|30|20|10) ?(?:year|yr)|for \d years"),
    _rule("timeline", "browsing",
        r"\b(?:just (?:looking|browsing|exploring|researching|seeing|curious|shopping|checking|starting)|only looking|browsing|no (?:rush|hurry|timeline)|not in (?:a|any) (?:rush|hurry)|in no (?:rush|hurry)|not sure (?:yet )?when|dont know yet(?: when)?|getting an idea|exploring options|still early|solo (?:estoy )?(?:viendo|mirando|quiero informacion)|no ?mas viendo|nomas viendo|todavia no se|no tengo prisa|sin prisa)\b|^whenever$"),
    _rule("applied_elsewhere", "yes",
        r"\b(?:already|we|i|yes|ya|just) (?:have |had )?(?:already )?appl(?:ied|y) (?:with|at|to|elsewhere|for)\b|\balready applied\b|\bapplied (?:at|with|elsewhere)\b|\b(?:have|got|with|using|working with|talking to|comparing\b.*) (?:\w+ )?(?:another|other|a different|someone else|few) ?(?:lenders?|banks?|people)?\b(?: too)?"
        r"|\b(?:application|app) (?:in )?(?:with|at)\b|\bstarted an? app\w*|\b(?:pre ?approved|approved|approval|preapproval) (?:by|with|from|at) (?:another|a|my|chase|wells|rocket|us|the)\b|\b(?:bank|lender|union) (?:already )?(?:has )?pre ?approved|\bloan estimate from\b|\bshopping (?:a few|around|other|multiple)? ?lenders\b|\b(?:yes )?with (?:chase|wells|rocket|us bank|my (?:bank|credit union)|bank of)\b"
        r"|\bya (?:aplique|aplicamos|tengo solicitud|tengo otro|meti)|\b(?:con|tengo) otro (?:banco|prestamista)\b|\banother lender\b",
        r"\b(?:havent|not|didnt|no|nobody|dont|never) (?:\w+ )?(?:appl|other|with|started|else)|went with|found another|closed with|already have a lender|\bclient\b"),
    _rule("applied_elsewhere", "no",
        r"\b(?:havent|have not|hasnt|didnt|not|never|nope|no)(?: \w+)? (?:yet )?(?:appl(?:ied|y)|started)\b|\bno (?:other lenders?|applications?)\b|\b(?:youre|you are|your) (?:the |my )?first\b|\bfirst (?:lender|call|one ive)|\bnobody else\b|\b(?:not with|no) (?:anyone|any one|nobody) else\b|\bjust you guys\b|\bnothing started\b|\bnot applied\b"
        r"|\bno (?:he|hemos) aplicado\b|\btodavia no (?:aplico|he aplicado|aplicamos)|\bcon nadie\b",
        r"not approved"),
    _rule("call_now", None,
        r"\bcall (?:me |us )?(?:back )?(?:right )?(?:now|asap|immediately|right away|right now|this minute)\b|\b(?:can|could|please) (?:you )?(?:please )?call (?:me |us )?(?:right )?now\b|\b(?:im |i am |we are )?(?:free|available|around) (?:to talk )?(?:right )?now\b|\b(?:now is|now works|talk now|i can talk now|call immediately)\b|^now(?: please| works| is good| is fine)?$"
        r"|\bllam[ae]me (?:ahora|ya|ahorita|en este momento)\b|\b(?:puede|pueden) llamar(?:me)? (?:ahora|ahorita|ya)\b|\b(?:ahorita|ahora) (?:puedo|si puedo)\b",
        r"(?:cant|not) (?:talk|free|available)"),
    _rule("callback", None,
        r"\b(?:call|phone|ring) (?:me|us)\b|\bcall(?:ing)? (?:me |us )?back\b|\bcallback\b|\bgive (?:me|us) a (?:call|ring|shout|buzz)\b|\b(?:can|could|will|would|should|have) (?:you|someone|somebody|we) (?:please )?(?:call|talk on|speak on)\b|\b(?:please|pls) call\b|\bcall (?:please|my cell|my phone|my)\b|^call$"
        r"|\b(?:want|prefer|like|need|rather)(?: a| to)? (?:a )?(?:phone )?(?:call|talk on the phone|speak on the phone)\b|\b(?:on|over) the phone\b|\bphone call\b|\bcall is better\b|\bllam[ae](?:me|r)\b|\bme (?:llama|llaman|puede[n]? llamar)\b|\bmarque(?:me|n)\b|\bmarcame\b|\bpor telefono\b",
        r"\b(?:do not|dont|no need to|never|not) (?:call|phone|ring)|call back\?|calls? me back|nobody (?:ever )?calls?|no one called|called me|no me llam|ill call"),
    _rule("wrong_number", None,
        r"\bwrong (?:number|num|person|guy|one|house|dude|phone|#)\b|^wrong$|\b(?:mis ?dial\w*|(?:pocket|butt) ?dial\w*|called (?:you )?(?:by )?(?:mistake|accident)|accident(?:al)? call|dialed (?:by mistake|the wrong)|dial(?:l)?ed wrong|by accident|by mistake|meant to call|trying to (?:reach|call) (?:someone else|my|the))\b|\bcalled (?:the )?wrong"
        r"|\b(?:numero|telefono) (?:equivocado|incorrecto)\b|\bse equivoco\b|^equivocado\b|\b(?:nobody|no one|no body|there is no|theres no|theres nobody)(?: \w+)? (?:by that name|named|here)\b|\bno (?:\w+) (?:here|at this number)\b",
        r"questions|docs|whats wrong|nobody (?:answers|here got)"),
    _rule("not_interested", None,
        r"\bnot? (?:longer )?interested\b|\bno interest\b|\bno longer (?:looking|need\w*|buying|want\w*)\b|\bnot (?:at this time|looking anymore|buying|looking any more)\b|\bchanged my mind\b|\bdecided (?:not|against)\b|\b(?:went|going) (?:with (?:someone|another|a different)|another direction)|\b(?:already|we) (?:already )?(?:found|closed|have)(?: already)?(?: with| a)?(?: \w+)? ?(?:lender|company|someone)\b|\bwe closed\b|\b(?:never ?mind|nvm)\b"
        r"|\bno thank(?:s|you| you)\b|\b(?:dont|do not) need (?:it|a loan|this|one)\b|\b(?:were|im|we are|nah im|i am) (?:all set|good|ok for now|fine)\b|^no need$|\bill pass\b|\bmaybe later\b|\bno me interesa\b|\bya no (?:quiero|necesito|me interesa)\b|\bno estoy interesad[oa]\b|^no gracias\b",
        r"sounds good|\bno thanks? to|am interested|good with|loan with you|no longer interested in (?:the|that)|ya aplic|not buying points"),
    _rule("existing_loan", None,
        r"\b(?:(?:have|got|already have) (?:a |my )?(?:loan|mortgage) (?:already )?with you|my (?:loan|mortgage) with you|existing (?:loan|mortgage)|current (?:loan|mortgage) with|current customer|existing customer|make (?:a|my) (?:mortgage )?payment|my (?:mortgage )?payment(?:s)?$|about my payment|payment (?:due|history|address)|mail my payment|payoff|pay off (?:amount|quote|statement)|my escrow (?:went|account|is)|escrow (?:account|refund|went)|refund of my escrow|1098|mortgage statement|wheres my statement|my statement|loan number|auto ?pay|paid off my loan|payment due|hacer mi pago|mi pago de hipoteca|(?:tengo|ya tengo) (?:mi |un )?(?:prestamo|hipoteca) con ustedes|customer of yours)\b",
        r"\b(?:lower|behind|cant|afford|miss\w*|late)\b|what would"),
    _rule("not_a_borrower", None,
        r"\b(?:im|i am|this is|were) (?:a |an |the )?(?:\w+ )?(?:real estate agent|realtor|agent with|appraiser|home inspector|inspector|escrow officer|vendor|recruiter|contractor)\b|\brealtor here\b|\brecruiter\b|\bfrom (?:\w+ )*(?:title|escrow)\b|\b(?:abc|first american|first) title\b|\b(?:calling|call) (?:you )?(?:from|about (?:your google|the job|your listing|the \w+ ?\w* ?job)|on behalf)\b|\bapplying for a job\b|\b(?:job (?:opening|posting))\b"
        r"|\bwe (?:sell|offer) leads\b|\bhave a (?:client|buyer)\b|\bmy client\b|\bwork for a\b|\bmarketing (?:company|services)\b|\bseo\b|\bgoogle listing\b|\b(?:ups|fedex|usps|amazon)\b.*\bdelivery\b|\bverification of employment\b|\binsurance agent\b|\bfor your borrower\b|\bagent with (?:remax|keller|century|coldwell)",
        r"\bmy (?:realtor|agent)\b|self employed"),
    _rule("hardship", None,
        r"\b(?:cant|cannot|can not|couldnt|unable to|struggling to|not able to|hard time)(?: make| pay| afford| paying| making)+(?: \w+){0,3} ?(?:payments?|mortgage|loan|house)?\b|\b(?:behind|late) on (?:\w+ )?(?:payments?|mortgage|loan|house)|\bmonths? behind\b|\bmissed (?:\w+ )?payments?\b|\b(?:foreclos\w+|forbearance|loan mod\w*|modification|deferment)\b|\b(?:lost|lose|losing) my job\b|\blaid off\b|\bhours (?:got |were )?cut\b|\bcant afford\b"
        r"|\bno puedo pagar\b|\batrasad[oa]s?\b|\bperdi mi (?:trabajo|empleo)\b|\bembargo\b|\bejecucion hipotecaria\b",
        r"after (?:a )?foreclosure|past foreclosure|with a (?:foreclosure|bankruptcy)|will a|does a foreclosure"),
    _rule("language", "es",
        r"\b(?:habla[ns]?|hable|hablen) (?:en )?(?:espanol|spanish)\b|\b(?:en|solo) espanol\b|^espanol\b|\bespanol (?:por favor|please)|\bno (?:hablo|entiendo)(?: mucho)? (?:el )?ingles\b|\bspeaks? (?:only )?spanish\b|\bspanish (?:please|speaker|speaking)\b|^spanish$|\bonly speaks spanish\b|\bin spanish\b"),
    _rule("thanks", None,
        r"\b(?:thanks|thank (?:you|u|ya)|thankyou|thx|ty|tysm|tyvm|appreciate\w*|gracias|grax|grasias|muchas gracias)\b",
        r"^no thank|^no gracias\b|\bno thanks\b|\bno thank you\b|no me interesa gracias(?! por)|ya no me interesa"),
    _rule("urgency", None,
        r"\b(?:urgent\w*|emergency|time sensitive|time is tight|really need help fast|help fast|its urgent|urgente|emergencia)\b", r"if this is urgent"),
    _rule("handover", "rate",
        r"\b(?:rates?|apr|interest rate|tasas?|tasa de interes)\b(?! (?:lock|and term|refi))|\bhow much (?:would|will|are|is|s) (?:my |the |our )?(?:monthly )?(?:payments?)\b|\bwhat (?:would|will|s) (?:my |the )?(?:monthly|payment)|\bmonthly (?:payment )?be\b|\b(?:que|cual es el) interes\b|\bcuanto (?:seria|pagaria|saldria) (?:el |al |la )?(?:pago|mes|mensual\w*)\b|\b(?:beat|match) \d",
        r"\b(?:lower|reduce|drop|lock|down on|get my rate|rate and term|bajar)\b|rate down|a lower|at a lower"),
    _rule("handover", "fees",
        r"\b(?:closing costs?|(?:origination|lender|your|any|the|application|hidden) fees?|fees|what (?:do|does) (?:you|it) (?:charge|cost)|(?:your|the) costs?\b|charge points|cost to refi\w*|how much does it cost|costos? de cierre|cuanto cobran|honorarios)\b|^points$",
        r"attorney fee"),
    _rule("handover", "lock", r"\b(?:lock(?:ed|ing)?(?: in)?(?: (?:my|the|a|our|today|now|it))?|rate lock)\b", r"lock ?box|lockout|locked out|phone locked"),
    _rule("handover", "preapproval",
        rf"\b(?:status|update|news|word)\b.{{0,15}}\b(?:{_APPROVAL}|application|loan|file|approval)\b|\b(?:{_APPROVAL}) (?:letter )?(?:status|ready|done|yet|{_SOON})|\b(?:need|get|send|want|have)\b.{{0,25}}\b{_APPROVAL}(?: letter)?\b.{{0,15}}\b{_SOON}\b|\b(?:did|are|were|was|am|is) (?:we|i|my loan|it|my \w+) (?:get |been )?(?:approved|denied)\b"
        rf"|\bis my (?:{_APPROVAL}|loan) (?:\w+ )?(?:ready|done|approved)|\b(?:where is|wheres|where are we on) (?:my|the) (?:{_APPROVAL}|approval)|\b(?:need|get) (?:an )?updated {_APPROVAL}|\bneed {_APPROVAL} asap"),
    _rule("handover", "closing",
        r"\b(?:are we|will we|can we|do we|when do we|when can we|when is|whens|when will|is my|our|my) (?:still |ever )?(?:clos(?:e|ing)|sign)\b(?! costs?)|\bclosing (?:is|got|was|date|tomorrow|today|on time|disclosure|friday|delayed|pushed)\b|\bclear to close\b|\bclose (?:sooner|earlier|early|on time)\b|\bneed my cd\b|\bfecha de cierre\b|\bcierre (?:es|manana)\b",
        r"closing costs?|what time do you close|when do you close"),
    _rule("handover", "deadline",
        r"\bdeadline\b|\b(?:offer|letter|answer|it) (?:is |are )?(?:due|needed) (?:by |today|tonight|tomorrow|on)|\b(?:need|needs|have|has)\b.{0,30}\b(?:by|before)\b.{0,12}\b(?:today|tonight|5pm today)\b|\b(?:contingency|contract|option period|offer)\b.{0,15}\b(?:expires?|ends?|is due|runs out)\b|\b(?:have|only have) until\b|\blose the (?:house|deal|contract)\b|\b(?:respond|reply|answer) to the seller\b|\bseller (?:needs|wants)\b.{0,20}\b(?:today|tonight|tomorrow|by)\b|\bneed an answer\b",
        r"seller wants to close|preapproval letter by"),
    _rule("handover", "complaint",
        r"\bcomplain\w*\b|\b(?:nobody|no one|noone) (?:ever |has )?(?:call\w*|answers?|returns?|picks)\b|\b(?:worst|terrible|horrible|bad|awful|poor|lousy) (?:\w+ )?(?:service|company|experience|lender)\b|\bmanager\b|\bsupervisor\b|\b(?:ive|i have|i) (?:called|been calling|left)\b.{0,20}\b(?:times|all week|all day|messages|voicemails|days)\b|\b(?:your company|you guys|this company) (?:is|are) (?:a )?joke\b|\b(?:third|second|fourth|3rd|5th) time (?:ive|i have) (?:called|asked|left)\b|\bquej(?:a|arme)\b|\bgerente\b|\bnadie (?:contesta|llama|me llama)\b",
        r"cfpb|fcc|ftc|attorney general"),
    _rule("handover", "human",
        r"\b(?:talk|speak|chat) (?:to|with) (?:a |an |the |your |some ?)?(?:real |live |actual )?(?:person|human|someone|somebody|one|agent|loan officer|officer|lo|representative|rep|advisor|people)\b|\b(?:real|live) (?:person|human) please\b|^(?:human|person|agent|operator|representative|loan officer)(?: please)?$|\bhuman please\b|\b(?:connect|transfer) me\b|\bget me a (?:person|human)\b|\b(?:can|could|may) i (?:talk|speak) (?:to|with) (?!a manager|the manager|you\b)\w+\b|\bi (?:want|need|would like) to (?:talk|speak) (?:to|with) \w+\b|\bis \w+ (?:available|there|in)\b|\bis there a person\b"
        r"|\bhablar con (?:una persona|alguien|un agente|un humano|un asesor)\b|\bpuedo hablar con\b",
        r"am i talking|manager|supervisor|(?:wife|husband|spouse|agent|realtor) first"),
    _rule("handover", "anger",
        r"\b(?:ridiculous|wtf|what the (?:hell|heck|fuck)|are you (?:kidding|serious)|useless|pissed|screw you|unbelievable|bs|bullshit|you guys suck|you suck|furious|so frustrated|frustrating|damn it|dammit|go to hell|this is insane|fuck\w*|hell no|idiots?)\b"),
    _rule("handover", "advice",
        r"\b(?:do|can|could|would|will) i (?:even )?(?:qualify|get approved|get a loan|buy|use|borrow|get)\b|\bqualify\b|\bhow much (?:\w+ )?(?:(?:down|do i need|can i|house|could i)\b|(?:can|could) we)|\b(?:what|which) (?:credit )?(?:score|credit|programs?|loan programs?)\b|\b(?:minimum|min) (?:down|credit|score)|\bcredit score (?:is|do|needed)|\b(?:is|are) (?:an? )?(?:fha|va|arm|conventional)\b.{0,20}\b(?:better|best)\b|\bdo you (?:do|offer|have) (?:\w+ ){0,3}(?:programs?|doc loans|loans? for)\b|\bmax dti\b|\bgift money\b|\bwill you count\b|\bself employed is that|\bcan i get a loan\b"
        r"|\bcalific(?:o|a|amos)\b|\bcuanto (?:necesito|de enganche|es el enganche|credito)|\benganche\b|\bpuntaje\b",
        r"what do you need|si califico\b(?!\?)"),
    _rule("ask", "who", r"\bwho(?: is|s|se)? (?:this|dis|r you|are you|texting)\b|\bwho (?:am i|are you|r you|is this|is texting|you are|you with)\b|\bwhos (?:this|texting|number)\b|\bwhose number\b|\b(?:what|which) company\b|\bquien (?:es|habla|eres|son|me escribe)\b|\bde (?:que compania|donde) (?:es|son|eres|llaman)\b|^who$"),
    _rule("ask", "number", r"\b(?:how|howd|where|whered)(?: did| d)? you (?:guys )?(?:get|find) (?:my|this)\b|\bwho gave you my\b|\bwhy (?:are|r) you (?:texting|contacting|messaging|calling)\b|\b(?:como|de donde) (?:consigui\w+|sac\w+|obtuvi\w+|tienen)\b.{0,6}\bnumero\b"),
    _rule("ask", "bot", r"\b(?:are|r) you (?:a )?(?:bot|robot|real|human|machine|ai|computer|real person)\b|\bis (?:this|it) (?:a |an )?(?:bot|robot|real person|automated|ai|machine|computer|chatgpt|real human)\b|\btalking to a (?:robot|bot|machine|real person|computer|person)\b|^(?:bot|ai|robot)$|\b(?:es|eres|esto es|es usted) (?:un |una )?(?:robot|maquina|bot|persona real|automatico)\b"),
    _rule("ask", "hours", r"\b(?:what|what are|your|business|office|open) hours\b|^hours$|\bare you (?:guys )?(?:still )?open\b|\bwhat time (?:do|are) you (?:guys )?(?:open|close)\b|\bwhen (?:do|are) you (?:guys )?(?:open|close)\b|\bhow late\b|\bdo you work (?:weekends|saturdays?|sundays?)\b|\ba que hora (?:abren|cierran|atienden)\b|\b(?:su |cual es su |el )?horario\b|\b(?:estan|esta) abiert[oa]s?\b"),
    _rule("ask", "next", r"\b(?:what|whats) (?:happens |is |s |comes )?(?:the )?next\b|\bnext steps?\b|\bwhat (?:do|documents do|docs do) (?:you|i|we) (?:need|do|have to do)\b|\bhow does (?:this|it) work\b|\bwhats the process\b|\bwhat is the process\b|^what now$|\bque sigue\b|\bsiguiente paso\b|\bque (?:documentos |papeles )?necesit[oa]n?\b|\bque hago ahora\b",
        r"what do you need to know|credit"),
)  # fmt: skip

ALONE: Final[Mapping[str, tuple[tuple[Kind, str | None], ...]]] = MappingProxyType(
    {
        **dict.fromkeys(("yes", "yep", "yeah", "yup", "sure", "sure thing", "ok", "okay", "k", "kk", "correct", "y", "yea", "ya", "thumbsup", "right", "thats right", "sounds good", "ok sounds good", "yes please", "absolutely", "of course", "that works", "works for me", "affirmative", "yes sir", "yes maam", "yes i am", "yes i do", "si", "claro", "claro que si", "por supuesto", "bueno", "correcto", "esta bien", "asi es", "si por favor", "definitely", "yessir", "great", "perfect", "de acuerdo", "sale", "si claro", "for sure", "exactly"), (("yes", None),)),
        **dict.fromkeys(("no", "nope", "nah", "n", "no sir", "no maam", "not really", "not yet", "i dont think so", "thumbsdown", "no not yet", "negative", "no i dont", "no i havent", "not at all", "no im not", "nel", "todavia no", "aun no", "no senor", "no todavia", "no i didnt", "no we havent", "not exactly"), (("no", None),)),
        "thankyou": (("thanks", None),),
        "ya": (("timeline", "now"),),
        "va": (("loan_type", "va"),),
    }
)  # fmt: skip
"""What a clause means that is this and nothing more."""

NOT_THAT_NAME: Final = re.compile(
    r"^(?:sorry |no |hi |um )*(?:(?:im|i am|this is|thats|my name is|its) not|this isnt|not|no soy|my name isnt|isnt) (?:mr |mrs |ms )?"
    r"(?!interested|sure|yet|now|really|ready|at|a |an |the|in |on |looking|buying|right|today|tomorrow|good|bad|available|able|free|me$|applied|approved|much|many|too|"
    r"until|till|before|with|for|happy|really|exactly|necessarily|anymore|any |that|this|going|home|working|here|there|urgent|my |your |spam|it$|so |all |before|started)[a-z]+(?: [a-z]+)?$"
)
"""`not Maria`: a text that a named borrower's number answers with another name."""

NO_TIME: Final = re.compile(
    r"\b(?:when|what time|what are (?:your )?hours|are you open|do you (?:close|open)|closing|deadline|expires?|due|lock|weeks?|months?|year|yr|meses|month|ago|since|buying in|behind|sold|lease|payment|"
    r"yesterday|how (?:much|many)|loan number|called \d|i called|third time|times|a que hora (?:abren|cierran)|abiertos|rates today|rate today|happy|good (?:morning|evening|afternoon|night)|"
    r"buen(?:os|as) (?:dias|tardes|noches)|by today|letter|offer|status|approved|afford|update|seller|contract|call (?:me )?(?:back )?asap|whats the rate|todays|application|1098|pre ?approv\w*|fha|option period)\b"
)
"""Words beside which an hour or a day is about something else than a call."""

US_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {"alabama": "AL", "alaska": "AK", "arizona": "AZ", "arkansas": "AR", "california": "CA", "cali": "CA", "colorado": "CO", "connecticut": "CT",
     "delaware": "DE", "florida": "FL", "fla": "FL", "georgia": "GA", "hawaii": "HI", "idaho": "ID", "illinois": "IL", "indiana": "IN", "iowa": "IA",
     "kansas": "KS", "kentucky": "KY", "louisiana": "LA", "maine": "ME", "maryland": "MD", "massachusetts": "MA", "michigan": "MI", "minnesota": "MN",
     "mississippi": "MS", "missouri": "MO", "montana": "MT", "nebraska": "NE", "nevada": "NV", "new hampshire": "NH", "new jersey": "NJ",
     "new mexico": "NM", "new york": "NY", "north carolina": "NC", "north dakota": "ND", "ohio": "OH", "oklahoma": "OK", "oregon": "OR",
     "pennsylvania": "PA", "rhode island": "RI", "south carolina": "SC", "south dakota": "SD", "tennessee": "TN", "texas": "TX", "tejas": "TX", "utah": "UT",
     "vermont": "VT", "virginia": "VA", "washington dc": "DC", "washington d c": "DC", "d c": "DC", "washington": "WA", "west virginia": "WV",
     "wisconsin": "WI", "wyoming": "WY", "puerto rico": "PR"}
)  # fmt: skip
_CODES: Final = frozenset(US_STATES.values())
_NAMES: Final = re.compile(r"\b(" + "|".join(sorted(US_STATES, key=len, reverse=True)) + r")\b")
_CODE: Final = re.compile(r"(?:,\s*|\bin\s+|\b[A-Z][a-z]+\s+|^\s*)([A-Z]{2})\b(?![a-z'])")
_CODE_IN_LOWER: Final = re.compile(
    r"^(?:in )?([a-z]{2})$|\b(?:miami|orlando|tampa|buffalo|houston|austin|dallas|denver|atlanta|chicago|phoenix|seattle|raleigh|cleveland|portland) ([a-z]{2})$"
)
_WORDS_TOO: Final = frozenset(
    {"IN", "OR", "OK", "HI", "ME", "OH", "ID", "MA", "PA", "LA", "AL", "DE", "CO", "VA", "MO", "ND"}
)


def named_states(text: str, raw: str) -> Iterator[str]:
    """Yield the states a text names, by name or by their two letters; `ok` and `hi` alone are words.

    Args:
        text: plain.
        raw: as it was written: capitals tell a code from a word.
    """
    seen: set[str] = set()
    for name in _NAMES.findall(text):
        seen.add(US_STATES[name])
    if not seen:
        for code in _CODE.findall(raw):
            if (
                code in _CODES
                and not (code in _WORDS_TOO and raw.strip() == code and code not in ("PA",))
                and not (code == "VA" and not re.search(r",\s*VA|[a-z] VA$", raw))
            ):
                seen.add(code)
        if (lower := _CODE_IN_LOWER.search(text)) is not None:
            code = (lower[1] or lower[2]).upper()
            if code in _CODES and (lower[2] is not None or code not in _WORDS_TOO):
                seen.add(code)
    yield from sorted(seen)
