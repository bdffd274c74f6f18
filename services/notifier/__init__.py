"""The last gate and the send.

Consumes `touches` and `receipts`, tails `replies`, reads leads' card, officers and suppressions. Keeps `deliveries`,
one document a touch, with every decision and time of its story. Emits `touch-results`.

Promises: no two texts of one step, ever (`sent_key` is unique); no text once an opt-out has been in Kafka for a
second; no text that could not be checked; a text that may not have left is an urgent task, never silence.
"""
