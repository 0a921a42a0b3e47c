"""Tests of the extensions to the Singer SDK."""
