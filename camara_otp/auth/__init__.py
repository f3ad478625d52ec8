"""Tokens: how they are obtained and kept.

`ClientCredentials`, `JWTBearer` and `CIBA` fetch tokens from the operator and renew them; `RedisStore` shares them
between workers. `StaticToken` and `CallableToken` stand for `token="..."` and `token=function`; any object with the
two methods of `TokenProvider` is accepted.

One renewal passes through these modules in one direction: a grant (`client_credentials`, `jwt_bearer`, `ciba`) builds
the form, `token_endpoint` sends it and `answers` reads the response, `sharing` looks in the store first if there is
one, `cache` lets one fetch serve every caller, and the client reads the cache.
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

_MODULES = {
    "ciba": ("CIBA",),
    "client_credentials": ("ClientCredentials",),
    "jwt_bearer": ("JWTBearer",),
    "providers": ("CallableToken", "StaticToken", "TokenProvider", "TokenSource"),
    "scopes": ("scope",),
    "stores": ("MemoryStore", "RedisStore", "TokenStore"),
}


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    # The client needs `providers` alone, and importing it should not cost the import of the grants.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
