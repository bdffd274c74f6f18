"""Spanish ways of asking us to stop, without accents, as people text: `ya no me manden mensajes`, `quiteme de su lista`."""

import re
from typing import Final

from services.policy.reading.optout_rules import StopRule

_TEXTS: Final = r"(?:mensaj\w*|textos?|texts?|texteos?|sms|msgs?|messages?|publicidad|propaganda)"
_SEND: Final = (
    r"(?:mand(?:e|en|es|ar|arme|ando|eme|enme)|envi(?:e|en|es|ar|arme|ando)|escrib(?:a|an|as|ir|irme|iendo)|text(?:ee|een|ees|es|e|en|ear|earme|eando|ie|ien)|"
    r"mensaj(?:ee|een|ear|iar)\w*|contact(?:e|en|es|ar|arme|ando)|molest(?:e|en|es|ar|arme|ando)|hostig\w+|busque[ns]?|insist\w+|fastidi\w+|jod\w+|cheng\w+|fregar|friegu\w+)"
)
_LOAN: Final = re.compile(
    r"\b(?:prestamo|hipoteca|titulo|deuda|escritura|pmi|seguro|loan|casa|credito|mi ex|mi espos[oa]|interes|tasa|pago|cita|contrato|renta|lease|proceso)\b"
)

SPANISH_RULES: Final = (
    StopRule(
        id="es_no_me_manden",
        asks=re.compile(
            rf"\b(?:ya )?(?:no|nunca) (?:me |nos |se |le )?(?:vuelva[ns]? a |siga[ns]? |este[ns]? |anden |ande )?(?:me )?{_SEND}\b"
            rf"|\bfavor de no {_SEND}\b|\bno (?:quiero|kiero|deseo|necesito) que (?:me|nos) (?:esten? |sigan? |anden? )?{_SEND}\b|\bque no me {_SEND}\b"
        ),
        unless=re.compile(r"\b(?:hasta|antes|despues|manana|en la|al correo|por correo|a mi espos[oa]|todavia|se moleste|al trabajo|en el trabajo)\b"),
    ),
    StopRule(
        id="es_dejen_de",
        asks=re.compile(rf"(?:\bpara (?:ya )?(?:de )(?:estar )?{_SEND}\b)|\b(?:dej(?:e|en|a|ar|enme|eme|ame)|par(?:e|en|ar|ale)|stop|alto|basta) (?:ya )?(?:de )?(?:estar )?(?:{_SEND}|molestias?)\b"),
        unless=re.compile(r"\b(?:no|nunca) (?:deje|dejen|para|paren|dejes)\b"),
    ),
    StopRule(
        id="es_en_paz",
        asks=re.compile(r"\bdej(?:e|en|a)(?:me|nos)?(?: mi numero| a mi \w+)? (?:en paz|tranquil\w+|solo|sola|de molestar)\b|\byan? no (?:molest|chingu|jod)\w+|\bno (?:jodan?|chinguen?|mamen)\b|\bvayanse?\b"),
    ),
    StopRule(
        id="es_quiteme",
        asks=re.compile(
            r"\b(?:quit|sac|saqu|borr|elimin|remuev|remov|retir|tach)(?:e|en|a|an|ar|as)(?:me|nos)\b|\bque (?:me|nos) (?:quiten|saquen|borren|eliminen)\b|\b(?:me|nos) (?:pueden?|podrian?) (?:quitar|sacar|borrar|eliminar)\b"
            r"|\b(?:quit|sac|saqu|borr|elimin|remuev|remov|retir|tach|suprim)(?:e|en|a|an|ar|er|as|es) (?:a )?(?:mi|mis|este|ese|el|nuestro)s? (?:numero|numeros|nombre|datos|info|informacion|telefono|contacto|celular|numeros)\b"
            r"|\b(?:fuera|afuera) de (?:la|su|esta) lista\b|\b(?:de|en) su lista no\b"
        ),
        unless=re.compile(rf"{_LOAN.pattern}|\bviejo\b|\bponga\b"),
    ),
    StopRule(
        id="es_quitelo",
        asks=re.compile(r"\b(?:quit|sac|saqu|borr|elimin|remuev|remov|retir|tach)(?:e|en|a|an|ar|as)(?:lo|la)\b"),
        unless=re.compile(r"\bponga\b"),
        unless_in_text=_LOAN,
    ),
    StopRule(
        id="es_no_quiero_mensajes",
        asks=re.compile(
            rf"\b(?:sigo recibiendo|me siguen? (?:llegando|mandando|enviando)) (?:sus|tus|estos|esos) {_TEXTS}|\bpor que me siguen? (?:mandando|enviando|escribiendo)\b|"
            rf"\b(?:no|ni|ya no) (?:quiero|kiero|deseo|necesito|quisiera|me interesan?) (?:recibir |seguir recibiendo |mas |sus |tus |de |estos |esos |los |ningun |ninguno |nada de )*(?:{_TEXTS}|spam|publicidad)\b"
            rf"|\b(?:hart[oa]s?|cansad[oa]s?|canse|cansamos) (?:de|con) (?:sus |tus |estos |los |tantos |recibir )*{_TEXTS}"
        ),
    ),
    StopRule(
        id="es_basta",
        asks=re.compile(
            rf"\b(?:basta|alto|dejen?|paren?|parele|parenle|deten|estuvo bueno|chole|estuvo)(?: (?:de|con|a))? (?:los |sus |tantos |estos |tus )*{_TEXTS}|\bni un (?:{_TEXTS}) mas\b|\b(?:los|las|les|la|lo) (?:voy a|vamos a) (?:reportar|demandar|denunciar|bloquear)\b|\bvoy a (?:reportar|demandar|denunciar)l[oae]s\b|\bsalir(?:me)? de (?:la|su|esta) lista\b|\bquiero salir(?:me)? de esto\b|\bno quiero hablar con ustedes\b|^(?:deseo |quiero |por favor )?(?:cancelar|anular)(?: todo| suscripcion| la suscripcion)?(?: por favor)?$|\b(?:esto |ustedes )?es (?:puro )?(?:spam|acoso)\b"
            rf"|\bbloque(?:ado|ados|ada|e)$|\bno (?:autoric?e?|autorizo|consiento|doy permiso|di permiso|he dado permiso|di mi consentimiento|me suscribi)\b|\bnunca (?:di|autorice|pedi|me suscribi|firme)\b"
            rf"|\bno pedi (?:esto|estos|nada)\b|\b(?:dejar de|no) recibir (?:mas |sus |estos )*{_TEXTS}|\bno quiero (?:nada|saber (?:mas |nada )?de ustedes)(?: de ustedes| mas)?$|^(?:por favor )?(?:que )?(?:ya )?paren?(?: ya)?$|^(?:por favor )?ya (?:parenle|dejenme|dejeme|dejame|parale|basta)(?: por favor)?$"
        ),
    ),
    StopRule(id="es_baja", asks=re.compile(r"\b(?:dar(?:me|nos)?|de[ns]?me|dame|den|deme|quiero|solicito|pido) (?:mi |la )?(?:de )?baja\b(?! (?:el|la|los|tasa|mi) )")),
    StopRule(
        id="es_cancelar",
        asks=re.compile(
            rf"\b(?:cancel(?:ar|e|en|a|o)|deten(?:er|ga|gan)|terminar?|termine[n]?|par(?:ar|e|en)|suspend(?:er|a|an)|stop) (?:los |mis |estos |esos |sus |la |mi |con los |con )*(?:{_TEXTS}|suscripcion|servicio de mensajes|numero|telefono)\b"
        ),
    ),
    StopRule(
        id="es_no_mas",
        asks=re.compile(rf"^(?:ya no|sin|cero) {_TEXTS}\b|\b(?:no|ni|ya no|sin|cero) (?:mas|more)(?: de)?(?: sus| estos)? (?:{_TEXTS}|spam)\b|^(?:ya |por favor |please |ok |bueno |que )*(?:no|ya no)(?: quiero)? mas(?: por favor| gracias| please| ya)*$|\b(?:please|porfa|por favor) no mas$"),
        unless=re.compile(r"\bno mas de\b"),
    ),
)  # fmt: skip
"""Opt-outs of texts, or of everything."""

TOLD: Final = re.compile(r"\b(?:mand|envi|text\w*|contact|mensaj\w*|llam|molest|escribi|autoric)[\u00e9\u00f3\u00ed]\b")
"""A past tense, told by its accent alone: `no mand\u00e9 el recibo` asks for nothing."""

NO_CALLS: Final = re.compile(
    r"\b(?:ya )?(?:no|nunca) (?:me |nos )?(?:vuelva[ns]? a |siga[ns]? )?(?:llam(?:e|en|es|ar|arme|ando)|marque[ns]?)\b|\bdej(?:e|en|a) de (?:llamar|marcar)\w*|^solo (?:por |con )?(?:textos?|mensajes?)\b|\bsin llamadas\b|\bno (?:mas )?llamadas\b"
)
NO_CALLS_AND_TEXTS: Final = re.compile(rf"\bllam\w+ (?:ni|y|o|ni me) (?:me )?{_SEND}\b|\b(?:ni|o) (?:me )?{_SEND}\b")
NO_CALLS_UNLESS: Final = re.compile(
    r"\b(?:hasta|antes|despues|en la|por la|a las|no dej(?:e|en)|no para|ahorita|al trabajo|espere|hoy|manana)\b"
)
CALL_WANTED: Final = re.compile(
    r"\b(?<!no me )(?:llam(?:e|a|en)me|mejor llam\w+|llame mejor|llamada|por telefono|marqueme|prefiero (?:que me )?llam\w+)\b"
)
