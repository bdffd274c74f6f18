"""How long a service may take to end: one bound for the whole, and the shares of it that its parts take."""

from typing import Final

STOP_LIMIT_S: Final = 30.0
"""From the signal to the end of the process, whatever hangs. What is not finished by then, the next process repeats."""

EVENTS_LIMIT_S: Final = 10.0
"""How long a consumer loop waits for the events in hand; a rebalance waits as long."""
ROUND_LIMIT_S: Final = 3.0
"""How long the round in hand may take; what it leaves, the next instance's round finds."""
FLUSH_LIMIT_S: Final = 5.0
"""How long a producer waits for acknowledgements; who waits for one knows that it has not come."""
CLOSE_LIMIT_S: Final = 5.0
"""How long closing a client may take; the client's own way waits for every record, so for a partition without a leader for good."""
