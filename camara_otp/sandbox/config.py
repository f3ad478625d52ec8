"""Settings of the sandbox, with defaults, and the dialects of known operators."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypedDict, cast, get_args

import attrs
from attrs.validators import optional

from camara_otp.sandbox.faults import Fault
from camara_otp.sandbox.http import ErrorForm
from camara_otp.sandbox.spec import ERRORS, LABEL, NUMBER, RULES, Release, ReleaseRules, with_plus
from camara_otp.sandbox.validators import between, flag, is_whole, must, one_of, whole


class SandboxOptions(TypedDict, total=False):
    """The keyword arguments of `Sandbox`: the fields of `Config`, all optional."""

    release: Release
    code_length: int
    code_alphabet: str
    code_lifetime: float
    max_send: int
    send_window: float
    max_try: int
    max_message_length: int
    tokens: Collection[str] | None
    expired_tokens: Collection[str]
    invalid_tokens: Collection[str]
    forbidden_tokens: Collection[str]
    unreachable_numbers: Collection[str]
    landline_numbers: Collection[str]
    blocked_numbers: Collection[str]
    foreign_numbers: Collection[str]
    api_paths: Collection[str]
    correlator: bool
    error_form: ErrorForm
    unknown_id: str
    validated_status: int
    latency: float
    seed: int | None
    keep_per_number: int
    keep_total: int
    faults: Iterable[Fault]


# How servers seen in the field differ from the defaults.
DIALECTS: Final[Mapping[str, SandboxOptions]] = {
    "camara": {},
    "omantel": {"release": "0.5.0", "api_paths": ("/v1/otp",)},
    "v0": {"release": "0.5.0", "api_paths": ("/one-time-password-sms/v0",)},
    "v2": {"release": "2.0.0", "api_paths": ("/one-time-password-sms/v2",)},
    "camarasim": {
        "api_paths": ("/one-time-password-sms/v1",),
        "unknown_id": "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED",
    },
    "mock": {"api_paths": ("/one-time-password-sms/v1.1.0-rc.1",), "error_form": "nested", "validated_status": 200},
    "silent-gateway": {"correlator": False, "error_form": "empty"},
    "html-gateway": {"correlator": False, "error_form": "html"},
}


def _are_strings(value: Any) -> bool:
    items = cast("Collection[object]", value) if isinstance(value, Collection) else (None,)
    return not isinstance(value, str) and all(isinstance(item, str) for item in items)


# A value that is not a list of strings passes the converters unchanged, and the validators refuse it by name.


def _names(value: Collection[str]) -> frozenset[str]:
    return frozenset(value) if _are_strings(value) else cast("frozenset[str]", value)


def _numbers(value: Collection[str]) -> frozenset[str]:
    return frozenset(map(with_plus, value)) if _are_strings(value) else cast("frozenset[str]", value)


def _paths(value: Collection[str]) -> tuple[str, ...]:
    return tuple(path.rstrip("/") for path in value) if _are_strings(value) else cast("tuple[str, ...]", value)


def _faults(value: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(value)


def _is_path(path: str) -> bool:
    # The converter has made the root an empty string.
    return (path + "/").startswith("/") and not path.startswith("/_sandbox")


_strings: Final = must("be a list of strings", _are_strings)
_dialable: Final = must(
    "be a list of strings: numbers in international form, such as +34600000000",
    lambda value: _are_strings(value) and all(map(NUMBER.fullmatch, value)),
)
_paths_outside: Final = must(
    "be a list of strings: paths that start with / and are not under /_sandbox, at least one",
    lambda value: _are_strings(value) and bool(value) and all(map(_is_path, value)),
)
_letters: Final = must(
    "be at least one printable character", lambda text: isinstance(text, str) and bool(text) and text.isprintable()
)
_YEAR: Final = 366 * 86400.0


DESCRIPTIONS: Final[Mapping[str, str]] = {
    "release": "The release of the API whose limits apply. `2.0.0` is a strict reading of the coming release.",
    "code_length": "Characters in a code, 1 to 10.",
    "code_alphabet": "The characters a code is made of.",
    "code_lifetime": "Lifetime of a code, in seconds.",
    "max_send": "The number of the first send to one phone within `send_window` that is refused: 4 allows three.",
    "send_window": "Seconds for which a send counts.",
    "max_try": "The number of wrong codes that closes a verification: 3 allows two, and the third closes it.",
    "max_message_length": "Characters a message template may have, at most 160.",
    "tokens": "The only access tokens accepted; left out: any.",
    "expired_tokens": "Access tokens refused as expired.",
    "invalid_tokens": "Access tokens refused as never issued.",
    "forbidden_tokens": "Access tokens that are valid but lack the scope.",
    "unreachable_numbers": "Phone numbers that cannot receive SMS.",
    "landline_numbers": "Phone numbers that are landlines.",
    "blocked_numbers": "Phone numbers to which SMS are blocked.",
    "foreign_numbers": "Phone numbers of another operator.",
    "api_paths": "The paths, each starting with a slash, under which both operations are served; `/` for none.",
    "correlator": "Whether responses carry an x-correlator.",
    "error_form": "Form of errors: `camara`, `nested` under `detail`, `html` page of a gateway, or `empty`.",
    "unknown_id": "The error code for an authenticationId that was never issued.",
    "validated_status": "The status of a successful validation: 204, or 200 with a body as some servers have it.",
    "latency": "Seconds by which every response is delayed.",
    "seed": "Makes codes and ids the same in every run; None makes them unpredictable.",
    "keep_per_number": "How many messages are remembered per number.",
    "keep_total": "How many messages, and as many requests, are remembered in all.",
    "faults": "Faults in force from the start, and again after a reset.",
}


@attrs.frozen(kw_only=True)
class Config:
    """Every setting of the sandbox."""

    release: Release = attrs.field(default="1.1.1", validator=one_of(*RULES))
    code_length: int = attrs.field(default=6, validator=whole(1, 10))
    code_alphabet: str = attrs.field(default="0123456789", validator=_letters)
    code_lifetime: float = attrs.field(default=300.0, validator=between(0.001, _YEAR))
    max_send: int = attrs.field(default=4, validator=whole(1, 10_000_000))
    send_window: float = attrs.field(default=600.0, validator=between(0, _YEAR))
    max_try: int = attrs.field(default=3, validator=whole(1, 10_000_000))
    max_message_length: int = attrs.field(default=160, validator=whole(len(LABEL), 160))
    tokens: frozenset[str] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(_names),
        validator=optional(_strings),
        repr=False,
    )
    expired_tokens: frozenset[str] = attrs.field(
        default=frozenset({"expired-token"}), converter=_names, validator=_strings, repr=False
    )
    invalid_tokens: frozenset[str] = attrs.field(
        default=frozenset({"invalid-token"}), converter=_names, validator=_strings, repr=False
    )
    forbidden_tokens: frozenset[str] = attrs.field(
        default=frozenset[str](), converter=_names, validator=_strings, repr=False
    )
    unreachable_numbers: frozenset[str] = attrs.field(
        default=frozenset({"+34600000001"}), converter=_numbers, validator=_dialable, repr=False
    )
    landline_numbers: frozenset[str] = attrs.field(
        default=frozenset({"+34910000001"}), converter=_numbers, validator=_dialable, repr=False
    )
    blocked_numbers: frozenset[str] = attrs.field(
        default=frozenset({"+34600000002"}), converter=_numbers, validator=_dialable, repr=False
    )
    foreign_numbers: frozenset[str] = attrs.field(
        default=frozenset({"+447700900001"}), converter=_numbers, validator=_dialable, repr=False
    )
    api_paths: tuple[str, ...] = attrs.field(
        default=("/otpvalidation", "/one-time-password-sms/v1"), converter=_paths, validator=_paths_outside
    )
    correlator: bool = attrs.field(default=True, validator=flag)
    error_form: ErrorForm = attrs.field(default="camara", validator=one_of(*get_args(ErrorForm)))
    unknown_id: str = attrs.field(default="NOT_FOUND", validator=one_of(*ERRORS))
    validated_status: int = attrs.field(default=204, validator=one_of(200, 204))
    latency: float = attrs.field(default=0.0, validator=between(0, 600))
    seed: int | None = attrs.field(default=None, validator=optional(must("be a whole number", is_whole)), repr=False)
    keep_per_number: int = attrs.field(default=100, validator=whole(1, 1_000_000))
    keep_total: int = attrs.field(default=10_000, validator=whole(1, 1_000_000))
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=_faults)

    @property
    def rules(self) -> ReleaseRules:
        """Return the limits of the release."""
        return RULES[self.release]


# The docstring is made from the descriptions that the command line shows, which python -OO must not remove.
Config.__doc__ = "Every setting of the sandbox.\n\nArgs:\n" + "\n".join(
    f"    {name}: {description}" for name, description in DESCRIPTIONS.items()
)


def in_dialect(dialect: str, settings: Mapping[str, Any], base: Config | None = None) -> Config:
    """Return settings on top of those of a dialect, and both on top of `base`."""
    # Not looked up as a key: a file may hold a value that cannot be one.
    if dialect not in tuple(DIALECTS):
        raise ValueError(f"dialect: must be one of {', '.join(DIALECTS)}")
    changes: dict[str, Any] = {**DIALECTS[dialect], **settings}
    return attrs.evolve(base or Config(), **changes)


def example_token(config: Config) -> str:
    """Return a token that the sandbox accepts, the first in sort order; a placeholder if the settings list none."""
    if config.tokens is None:
        return "any-token"
    return min(config.tokens - config.expired_tokens - config.invalid_tokens - config.forbidden_tokens, default="TOKEN")
