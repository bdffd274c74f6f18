"""The outside, one thing a file: the store (a Protocol, MongoDB, memory), Twilio, and the tail of `replies`."""
