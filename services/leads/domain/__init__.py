"""Pure: what a call was, what a lead becomes, whom it goes to. No I/O, no clock; `now` is always an argument."""
