"""The promises of design 3, on a model: the real decisions, with everything around them reduced to what may go wrong."""
