"""The documentation, and what prints its tables."""
