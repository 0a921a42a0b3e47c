"""Tests of the queries, and of the report that is made from them."""
