"""Tests of tap-tuple, in the layout of the package."""
