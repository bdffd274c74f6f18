"""From a provider's shape to our events: pure functions of the webhook, the directory and the time it came."""
