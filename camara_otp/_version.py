"""The version of this package, and nothing else: the build reads it here."""

__version__ = "0.1.0"
