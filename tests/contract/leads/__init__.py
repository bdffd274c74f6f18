"""Both stores of leads under one suite."""
