"""Tokens shared through a real Redis."""
