"""From a provider's shape to our facts: pure functions of the webhook, the directory and the time it came."""
