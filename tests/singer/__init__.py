"""Tests of what the SDK lacks."""
