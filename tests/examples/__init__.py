"""Tests of the examples, run as a user runs them. They need the web frameworks: `make test-examples`."""
