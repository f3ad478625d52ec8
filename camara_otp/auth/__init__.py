"""Tokens: how they are obtained and kept.

`ClientCredentials`, `JWTBearer` and `CIBA` fetch tokens from the operator and renew them; `RedisStore` shares them
between workers. `StaticToken` and `CallableToken` stand for `token="..."` and `token=function`; any object with the
two methods of `TokenProvider` is accepted.

A renewal starts in `cache`: one fetch serves every caller. With a store it continues in `sharing`. The grant
(`client_credentials`, `jwt_bearer`, `ciba`) names the fields, and `token_endpoint` sends them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camara_otp.auth.ciba import CIBA
    from camara_otp.auth.client_credentials import ClientCredentials
    from camara_otp.auth.jwt_bearer import JWTBearer
    from camara_otp.auth.providers import CallableToken, StaticToken, TokenProvider, TokenSource
    from camara_otp.auth.scopes import scope
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

_MODULES = ("providers", "scopes", "stores", "client_credentials", "jwt_bearer", "ciba")


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    # The client needs only `providers`, and importing it should not cost the import of the grants.
    for module in _MODULES if name in __all__ else ():
        found = getattr(import_module(f"{__name__}.{module}"), name, None)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
