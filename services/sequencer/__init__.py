"""Decides which touch is due when: cadences, stop-on-reply, durable timers; one row for each caller in a Faust table.

Consumes `leads`, `touch-results` and `sequencer-ticks`; keeps the table `callers`; emits `touch.due` on `touches`,
`touch.task_requested` and `touch.suppressed` (for the steps it drops itself) on `touch-results`, and `timer.set` on
`sequencer-timers`. Its timekeeper (`python -m services.sequencer.timekeeper`) keeps the timers in MongoDB and emits
`timer.due` on `sequencer-ticks`.

Promises: one recovery sequence for each caller and local day; no step twice, unless the notifier held it until a given
time or it failed retriably; nothing after an opt-out; a reason for every step that is dropped. It computes no send window:
that is the notifier's.
"""
