"""The endpoints of an authorization server: given by URL, or read from the configuration that its issuer publishes."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from camara_otp._checks import is_local, shown_url, split_url, text
from camara_otp.auth.answers import Reply, TokenRefusal, read_document
from camara_otp.errors import ConfigurationError

_QUERY: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_CONFIGURATION: Final = "/.well-known/openid-configuration"


@frozen
class EndpointURL:
    """A checked URL, with the parts that an exchange needs; the query may hold a key, so repr masks it."""

    url: str
    origin: str
    target: str
    is_clear_text: bool

    def __repr__(self) -> str:
        return f"EndpointURL({shown_url(self.url)!r})"

    @property
    def is_local(self) -> bool:
        """Tell whether the URL is an address of this machine or link."""
        return is_local(urlsplit(self.origin).hostname or "")


def endpoint_url(name: str, url: object, *, allow_http: bool) -> EndpointURL:
    """Check a URL, or raise ConfigurationError. Unlike a base_url, it may carry a query (RFC 6749 section 3.2)."""
    url = text(name, url)
    path, mark, query = url.partition("?")
    if not _QUERY.fullmatch(query):
        raise ConfigurationError(f"{name}: has a query with characters that must be percent-encoded, or a fragment")
    if "@" in path:
        raise ConfigurationError(f"{name}: must hold no user name or password; give client_id and its secret instead")
    parts = split_url(name, path, allow_http=allow_http)
    return EndpointURL(url, parts.origin, f"{parts.path or '/'}{mark}{query}", parts.in_the_clear)


@frozen
class Endpoints:
    """The token endpoint and, for CIBA, the backchannel authentication endpoint."""

    token: EndpointURL
    backchannel: EndpointURL | None


@frozen
class Issuer:
    """An issuer: the names that its configuration may state, and the URL of that configuration."""

    names: tuple[str, ...]
    configuration: EndpointURL


def issuer_of(issuer: object, *, allow_http: bool) -> Issuer:
    """Return the issuer for its name or for the URL of its configuration.

    A configuration URL does not tell whether the issuer's name ends in a slash, so both names are accepted for it.
    """
    given = text("issuer", issuer)
    name = given.removesuffix(_CONFIGURATION)
    names = (name,) if name == given else (name, f"{name}/")
    return Issuer(names, endpoint_url("issuer", name.removesuffix("/") + _CONFIGURATION, allow_http=allow_http))


def read_configuration(
    reply: Reply, issuer: Issuer, *, backchannel: bool, allow_http: bool
) -> Endpoints | TokenRefusal:
    """Read an OpenID configuration. It must state the issuer exactly as the caller named it."""
    document = read_document(reply)
    if isinstance(document, TokenRefusal):
        return document
    name = document.get("issuer")
    if name not in issuer.names:
        shown = reply.cleaned(name) if isinstance(name, str) else "none"
        return TokenRefusal(
            f"the issuer's configuration is another issuer's ({shown}); give issuer exactly as it is there"
        )
    try:
        token = _named(document, "token_endpoint", issuer, allow_http=allow_http)
        key = "backchannel_authentication_endpoint"
        return Endpoints(token, _named(document, key, issuer, allow_http=allow_http) if backchannel else None)
    except ConfigurationError as error:
        return TokenRefusal(str(error))


def _named(document: dict[str, Any], key: str, issuer: Issuer, *, allow_http: bool) -> EndpointURL:
    if not isinstance(document.get(key), str):
        raise ConfigurationError(f"the issuer's configuration names no {key}; the operator may not offer this grant")
    found = endpoint_url(f"the issuer's {key}", document[key], allow_http=allow_http)
    if found.is_local and not issuer.configuration.is_local:
        raise ConfigurationError(
            f"the issuer's {key} is an address of this machine or link, which its configuration must not name; "
            "report it to the operator"
        )
    return found
