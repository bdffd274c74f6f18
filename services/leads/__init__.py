"""leads: the one place that decides what a call was, what a lead is, who owns it and who may not be texted.

Consumes `call-events`, `replies` and `touch-results`. Keeps, in MongoDB: `calls` (one per call, facts in any order,
decided once), `leads` (one per caller, with the open task and the outbox in it), `messages`, `task_log`, `officers` and
`suppressions`. Emits `leads` events, through the outbox of the lead they are about.

Promises:
    - every call is decided exactly once, at once when all its facts are in, else when it has been quiet long enough;
    - every missed or abandoned call of a caller we can name makes that caller's one lead, with an owner and a task, or
      raises the one that is there; an answered first call, and a withheld number, make none;
    - an opt-out is in `suppressions`, majority acknowledged, before anything else is done about it;
    - whether an event was applied is said by the lead document alone, and every write is conditional: replays, stale
      instances and two events of one caller at the same moment change nothing twice;
    - what a lead has to tell leaves in the order of `lead_seq`, at least once, even when the process dies in between.
"""
