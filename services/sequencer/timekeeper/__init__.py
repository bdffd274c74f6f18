"""The sequencer's timekeeper: durable timers, its own process (`python -m services.sequencer.timekeeper`).

Consumes `sequencer-timers`; keeps them in MongoDB (`timers`); emits `timer.due` on `sequencer-ticks`, with the caller's
key, once virtual time has reached them. Promises: a timer that was read fires at least once, and never before it is due; a
local time is resolved again, by today's zone data, when it fires. Timers are never cancelled: the sequencer knows its open
timers, and a tick too many changes nothing.
"""
