"""Every metric of the leads service. Labels come from closed sets only; calls of internal numbers are not counted."""

from typing import get_args

from prometheus_client import Counter, Gauge

from schemas.leads import CallOutcome
from services.leads.domain.model import DecidedBy

CALLS = Counter(
    "ringback_calls_total", "Calls decided, by what they were; without those decided by the reconciler.", ["outcome"]
)
MISSED = Counter(
    "ringback_missed_calls_total",
    "Missed and abandoned calls, by whether we can name the caller: caller | withheld | unknown.",
    ["source"],
)
DECIDED = Counter(
    "ringback_calls_decided_total",
    "Calls decided, by what made it time: facts (all are in) | after_end (3 s) | incomplete (180 s without start or end) | "
    "reconciler (from the provider's list, and nobody knows whether a person took it).",
    ["by"],
)
LATE_ANSWERS = Counter(
    "ringback_late_answers_total", "Calls decided as missed whose proof of an answer came afterwards."
)
LEADS_OPENED = Counter("ringback_leads_opened_total", "Leads made.")
CALLED_AGAIN = Counter("ringback_leads_called_again_total", "Missed calls of borrowers who already were leads.")
CONTACTED = Counter("ringback_leads_contacted_total", "Leads a person of ours talked to.")
REPLIES = Counter(
    "ringback_replies_total", "Borrowers' texts, by what they ask: stop | start | yes | help | none.", ["keyword"]
)
OPT_OUTS = Counter("ringback_opt_outs_total", "Opt-outs taken, by who said so: borrower | carrier.", ["source"])
OPT_INS = Counter("ringback_opt_ins_total", "Opt-outs taken back.")
UNREAD = Counter("ringback_unread_replies_total", "Texts that nobody could read: their senders get no texts for now.")
OUTBOX_PENDING = Gauge("ringback_outbox_pending_leads", "Leads with something left to emit, as the sweeper last saw.")
OUTBOX_LEFT = Counter("ringback_outbox_left_total", "Outboxes left to the sweeper: their partition took nothing.")
OUTBOX_SWEPT = Counter("ringback_outbox_swept_total", "Leads whose outbox the sweeper had to emit.")
SETTLING = Gauge("ringback_calls_settling", "Calls that wait for facts, as the settler last saw.")
UNDECIDED = Gauge("ringback_calls_undecided", "Calls that should have been decided a minute ago, as last seen.")
SAID_UNDECIDED = Counter("ringback_undecided_tasks_total", "Calls that became a task because nobody could decide them.")
CONFLICTS = Counter(
    "ringback_conditional_write_misses_total",
    "Writes that found the document changed by another; decided again.",
    ["collection"],
)

for _outcome in get_args(CallOutcome):
    CALLS.labels(_outcome)
for _source in ("caller", "withheld", "unknown"):
    MISSED.labels(_source)
for _by in get_args(DecidedBy):
    DECIDED.labels(_by)
for _keyword in ("stop", "start", "yes", "help", "none"):
    REPLIES.labels(_keyword)
for _who in ("borrower", "carrier"):
    OPT_OUTS.labels(_who)
for _collection in ("calls", "leads", "officers"):
    CONFLICTS.labels(_collection)
