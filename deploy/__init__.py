"""Everything that runs Ringback: the local stack, the sandbox, compose, examples."""
