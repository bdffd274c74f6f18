"""The reconciler: `python -m services.ingest.reconcile` finds what webhooks missed, and makes it good.

Every minute it lists the provider's calls and messages from its last finished pass less ten minutes (a day at its first
start), looks which of their events are in Kafka, and emits those that are not, under the ids that the webhooks would have
made. One process of it is enough; a second changes nothing, since ids repeat.

It leaves calls alone until `CALL_AGE_S` after their end: their webhooks may be on their way, and by then no first text can
leave (design 3), so that a call whose key press was lost never texts a borrower who was served. Its leg ends say `listed`.
"""
