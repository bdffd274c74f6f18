"""One caller's whole story: `documents` finds and reads the records, `story` puts them in order and into words."""
