"""Measures tap-tuple beside other ways to read the same calls: ``python -m benchmarks``."""
