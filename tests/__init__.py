"""Tests for tap-tuple, laid out like the package."""
