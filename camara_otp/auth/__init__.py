"""Tokens: where they come from, and how they are kept.

`ClientCredentials`, `JWTBearer` and `CIBA` fetch tokens from the operator and renew them; `RedisStore` shares them
between workers. `StaticToken` and `CallableToken` are what `token="..."` and `token=function` turn into; any object
with the two methods of `TokenProvider` will do.
"""

from camara_otp._tokens import CallableToken, StaticToken, TokenProvider, TokenSource
from camara_otp.auth._scope import scope
from camara_otp.auth.oauth import CIBA, ClientCredentials, JWTBearer
from camara_otp.auth.stores import MemoryStore, RedisStore, TokenStore

__all__ = [
    "CIBA",
    "CallableToken",
    "ClientCredentials",
    "JWTBearer",
    "MemoryStore",
    "RedisStore",
    "StaticToken",
    "TokenProvider",
    "TokenSource",
    "TokenStore",
    "scope",
]
