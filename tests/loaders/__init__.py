"""Tests of the tap with real loaders, and with a strict target built for the tests."""
