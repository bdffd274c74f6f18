"""The reconciler: `python -m services.ingest.reconcile` finds what webhooks missed, and makes it good.

Every minute it lists the provider's calls, recordings and messages from its last finished pass less ten minutes, and a day back
at its start and once an hour; it looks which of their events are in Kafka, and emits those that are not, under the ids that the
webhooks would have made. One process of it is enough; a second changes nothing, since ids repeat.

It leaves calls alone until `CALL_AGE_S` after their end: their webhooks may be on their way. What was pressed is in no list; the
ends of legs say `listed`, so that the leads service gives a call in which a phone was picked up to a person (design 3).
"""
