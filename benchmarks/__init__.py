"""Compares tap-tuple with other ways to read the same calls: ``python -m benchmarks``."""
