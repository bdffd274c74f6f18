"""Every metric of ingest. All label values are closed sets and start at 0."""

from typing import Final

from prometheus_client import Counter, Histogram

from services.ingest import routes
from services.ingest.domain.reading import IGNORED, UNUSABLE
from services.ingest.errors import REASONS

OTHER: Final = "other"
STATUSES: Final = ("200", "202", "204", "400", "403", "404", "405", "408", "413", "415", "500", "503")

REQUESTS = Counter(
    "ringback_http_requests_total", "Requests answered; unknown routes, methods and statuses count as `other`.",
    ["route", "method", "status"],
)  # fmt: skip
REQUEST_SECONDS = Histogram(
    "ringback_http_request_duration_seconds", "Seconds from a request's headers to its answer, Kafka's ack included.",
    ["route"], buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
REJECTED = Counter("ringback_webhooks_rejected_total", "Webhooks answered 4xx.", ["route", "reason"])
IGNORED_WEBHOOKS = Counter("ringback_webhooks_ignored_total", "Good webhooks that say nothing we keep.", ["why"])
UNACKNOWLEDGED = Counter("ringback_webhooks_unacknowledged_total", "Webhooks answered 503: no ack in time.", ["route"])
CALLERS_UNUSABLE = Counter(
    "ringback_callers_unusable_total", "Callers neither withheld nor a number; their calls are kept.", ["reason"]
)

for _route in routes.ALL:
    for _status in STATUSES:
        REQUESTS.labels(_route, "POST", _status)
    for _reason in REASONS:
        REJECTED.labels(_route, _reason)
    REQUEST_SECONDS.labels(_route)
    UNACKNOWLEDGED.labels(_route)
for _why in IGNORED:
    IGNORED_WEBHOOKS.labels(_why)
for _kind in UNUSABLE:
    CALLERS_UNUSABLE.labels(_kind)
