"""The whole system under faults: a seeded load, a seeded schedule of what breaks, and a checker that reads what is left.

    python -m tests.chaos.system --seed 7 --minutes 3      # prints a table, writes JSON; exit 1 on any breach

`history.py` is what went in and what came out, `checker.py` compares them (pure), `schedule.py` draws the faults,
`load.py` plays the phone company, `proxy.py` cuts connections, `stage.py` runs the processes, `run.py` puts it together.
"""
