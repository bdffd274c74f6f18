"""The notifier: the last gate before a text, and its sending.

Consumes `touches` and `receipts`, tails `replies`, and reads cards, officers and suppressions, which the leads service
writes. Keeps `deliveries`: one document for each touch, with every decision and every time. Emits `touch-results`.

Promises: never two texts of one step (`sent_key` is unique); no text once an opt-out has been in Kafka for a second; no
text that the gate could not check; a text that may not have left becomes an urgent task.
"""
