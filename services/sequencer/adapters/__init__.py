"""Outside things, one a file: cadence files, MongoDB's timers, Faust inside its fence."""
