"""Pure compliance rules and their dated data files: no clock, no I/O but reading those files."""
