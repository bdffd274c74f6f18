"""Plumbing that every service shares, with no business words in it.

Settings, logging, metrics, health, the clock, Kafka's producer and consumer loop, dead letters. Whatever knows what
a lead or a touch is belongs to a service; whatever is a rule of law or taste belongs to `services.policy`.
"""
