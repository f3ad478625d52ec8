"""Tests of the examples, each as a person would run it. They need the web frameworks: `make test-examples`."""
