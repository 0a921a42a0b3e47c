"""Tests of ``tap-tuple-check``."""
