"""Playing a call log through ingest's real webhooks, signed as the phone system would, on a clock that we move.

`webhooks` says what the phone system would have sent, `driver` sends it and moves the clock, `summary` reads what came
of it.
"""
