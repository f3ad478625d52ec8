"""The tables of the docs, printed from the code: `python -m docs.tables` renews the pages that hold them.

A table stands between two comments, `<!-- name -->` and `<!-- /name -->`; what is between them is written here.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from camara_otp.errors import (
    CODES,
    STATUSES,
    SUPERSEDED,
    APIError,
    ConfigurationError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    SendRefusedError,
    TokenError,
    UnexpectedResponseError,
)
from camara_otp.retry import RULES, AttemptOutcome
from camara_otp.sandbox.config import DESCRIPTIONS, Config

_PAGES: Final = Path(__file__).parent


def errors_table() -> str:
    """Return every code with its class, cause and remedy, under its HTTP status."""
    parts: list[str] = []
    for status, family in STATUSES.items():
        rows = [
            f"| `{code}` | `{kind.__name__}` | {kind.cause} | {kind.remedy} |"
            for code, kind in CODES.items()
            if issubclass(kind, family)
        ]
        parts.append(f"### {status}: `{family.__name__}`\n\n{family.cause} {family.remedy}\n")
        if rows:
            parts.append("| code | class | when | what to do |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def superseded_table() -> str:
    """Return the spellings of earlier drafts and the class that each arrives as."""
    rows = [f"| `{old}` | `{CODES[new].__name__}` |" for old, new in SUPERSEDED.items()]
    return "| code | arrives as |\n|---|---|\n" + "\n".join(rows) + "\n"


COVERED: Final = {
    AttemptOutcome.NOT_SENT: "host name not found (DNS), connection refused, connect or pool timeout, "
    "broken TLS handshake, proxy refusal",
    AttemptOutcome.NEVER_TO_BE_SENT: "a certificate that does not verify",
    AttemptOutcome.TOKEN_REJECTED: "401, whatever its code, unless the code is one of the API's own "
    "(`ONE_TIME_PASSWORD_SMS.*`)",
    AttemptOutcome.RATE_LIMITED: "429 with `TOO_MANY_REQUESTS`",
    AttemptOutcome.REFUSED: "every other 4xx except 409 `ABORTED`; for example `QUOTA_EXCEEDED` and "
    "`MAX_OTP_CODES_EXCEEDED`",
    AttemptOutcome.UNKNOWN: "a failure or timeout after the first byte was sent, 5xx, 409 `ABORTED`, any response "
    "outside the contract",
}


def _may_have_acted(outcome: AttemptOutcome) -> str:
    return "**yes**" if outcome is AttemptOutcome.UNKNOWN else "no"


def outcomes_table() -> str:
    """Return the rules by which the client repeats a request, and the outcomes that they cover."""
    rows = [
        f"| {outcome.value} | {COVERED[outcome]} | {repeat.value} | {_may_have_acted(outcome)} |"
        for outcome, repeat in RULES.items()
    ]
    return (
        "| outcome | covers | sent again | may the operator have acted? |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def failures_table() -> str:
    """Return each branch of the exceptions with what it says and whether the operator may have acted."""
    kinds: tuple[type[OTPError], ...] = (
        ConfigurationError,
        RequestValidationError,
        SendRefusedError,
        TokenError,
        RequestNotSentError,
        OutcomeUnknownError,
        UnexpectedResponseError,
        APIError,
    )
    rows = [f"| `{kind.__name__}` | {kind.cause} | {kind.remedy} | {_unknown(kind)} |" for kind in kinds]
    return "| class | when | what to do | `outcome_unknown` |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _unknown(kind: type[OTPError]) -> str:
    if kind is APIError:
        return "True from 500 up, and for 409 `ABORTED`"
    return str(kind.outcome_unknown)


def sandbox_table() -> str:
    """Return the settings of the sandbox with their defaults and meanings."""
    config = Config()
    rows = [f"| `{name}` | {_default(getattr(config, name))} | {meaning} |" for name, meaning in DESCRIPTIONS.items()]
    return "| setting | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _default(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        return ", ".join(sorted(cast("frozenset[str]", value))) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "errors": errors_table,
    "superseded": superseded_table,
    "outcomes": outcomes_table,
    "failures": failures_table,
    "sandbox settings": sandbox_table,
}


def renewed(page: str) -> str:
    """Return a page with each of its tables printed anew."""
    for name, table in TABLES.items():
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda found, table=table: f"{found[1]}\n{table()}\n{found[2]}",
            page,
            flags=re.DOTALL,
        )
    return page


if __name__ == "__main__":
    for path in sorted(_PAGES.rglob("*.md")):
        path.write_text(renewed(path.read_text("utf-8")), "utf-8")
