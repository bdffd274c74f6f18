"""One outside thing a file: MongoDB, Twilio, and the tail of `replies`."""
