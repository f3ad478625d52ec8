"""Tests of the one room that knows the HTTP library."""
