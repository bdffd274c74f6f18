"""Unit tests of leads."""
