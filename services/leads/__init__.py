"""The leads service alone decides what a call was, what a lead is, who owns it and who may not be texted.

Consumes `call-events`, `replies` and `touch-results`. Keeps, in MongoDB: `calls` (one per call, facts in any order,
decided once), `leads` (one per caller, with the open task and the outbox in it), `messages`, `task_log`, `officers` and
`suppressions`. Emits `leads` events, through the outbox of the lead they are about.

Promises:
    - every call is decided exactly once: as soon as all its facts are in, or when it has been quiet long enough and its
      partitions are read; one that nobody can decide becomes a person's task after five minutes;
    - every missed or abandoned call of a caller we can name makes that caller's one lead, with an owner and a task, or
      raises the lead's task where there is a lead; an answered first call and a withheld number make no lead, nor does a
      miss that is decided after a person of ours has talked to the caller;
    - a text from someone without a lead makes one, unless it only steers texting (STOP, START, HELP);
    - an opt-out is in `suppressions`, acknowledged by a majority, before anything else is done about it;
    - the lead document alone says whether an event was applied, and every write is conditional: replays, stale
      instances and two events of one caller at the same moment change nothing twice;
    - the events of a lead reach Kafka in the order of `lead_seq`, at least once, even when the process dies in between.
"""
