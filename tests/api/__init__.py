"""Tests of how Tuple is spoken to."""
