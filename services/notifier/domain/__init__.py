"""Pure: what a delivery is, what may become of it, whether it may go, and what it says."""
