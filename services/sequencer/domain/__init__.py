"""The per-caller state machine: a total table of small pure functions, no clock, no I/O."""
