"""What every service shares, with no business words in it.

Settings, exit codes, logging, metrics, health, the clock, periodic rounds; Kafka's producer, consumer loop, dead letters
and topics; MongoDB's errors. What knows a lead or a touch belongs to a service; a rule of law or taste belongs to
`services.policy`.
"""
