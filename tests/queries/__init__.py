"""Tests of the queries and of the page made from them."""
