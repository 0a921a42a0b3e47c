"""Checks whether Tuple's API behaves as its documentation says: ``tap-tuple-check``."""
