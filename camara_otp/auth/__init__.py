"""Tokens: where they come from, and how they are kept.

`StaticToken` and `CallableToken` are what `token="..."` and `token=function` turn into; any object with the two
methods of `TokenProvider` will do.
"""

from camara_otp.auth.provider import CallableToken, StaticToken, TokenProvider, TokenSource

__all__ = ["CallableToken", "StaticToken", "TokenProvider", "TokenSource"]
