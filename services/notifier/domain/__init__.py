"""Pure: what a delivery is, what may become of it, whether its text may go, and what the text says."""
