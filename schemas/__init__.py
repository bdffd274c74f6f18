"""What the services promise each other: events, topics, envelopes, and the published JSON Schemas of all of them."""
