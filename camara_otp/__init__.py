"""Typed client for CAMARA's One Time Password SMS API."""

__version__ = "0.1.0"
