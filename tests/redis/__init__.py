"""Tokens and counters in a real Redis."""
