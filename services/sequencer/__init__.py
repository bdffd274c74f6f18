"""Decides which touch is due when: cadences, stop-on-reply, durable timers; one row per caller in a Faust table.

Consumes `leads`, `touch-results` and `sequencer-ticks`; keeps the table `callers`; emits `touch.due` on `touches`,
`touch.task_requested` and `touch.suppressed` (for the steps it drops itself) on `touch-results`, and `timer.set` on
`sequencer-timers`. Its timekeeper (`python -m services.sequencer.timekeeper`) keeps the timers in MongoDB and answers
with `timer.due` on `sequencer-ticks`.

Promises: one recovery sequence per caller and local day; no step twice, unless a gate or a failure said "again then";
nothing after an opt-out; every step that is dropped says why. It computes no send window: that is the notifier's.
"""
