"""Logging in against a certified OpenID provider."""
