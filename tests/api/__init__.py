"""Tests of the HTTP client for Tuple's usage API."""
