"""PhoneNumber: convert a number as people type it to E.164, or give the reason why that is not possible.

Uses Google's metadata through the module `phonenumbers`. The extra `phone` installs it as phonenumberslite, without the
names of places; the full distribution phonenumbers works as well.
"""

import re
import unicodedata
from enum import StrEnum
from typing import Final

import attrs

from camara_otp.errors import RequestValidationError
from camara_otp.models import masked

try:
    import phonenumbers
except ModuleNotFoundError as _error:  # pragma: no cover - tested in an environment without the extra
    raise ModuleNotFoundError(
        "camara_otp.phone needs phonenumberslite; install it with: pip install 'camara-otp[phone]'", name=_error.name
    ) from _error

__all__ = ["Kind", "PhoneNumber"]

_REASONS: Final = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: "begins with no known country code after the +",
    phonenumbers.NumberParseException.NOT_A_NUMBER: "is not a phone number; ask for digits",
    phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: "ends after its country code; ask for the whole number",
    phonenumbers.NumberParseException.TOO_SHORT_NSN: "is too short; ask for the whole number",
    phonenumbers.NumberParseException.TOO_LONG: "is too long; ask for one number only",
}


class Kind(StrEnum):
    """The use of a number, as far as its range tells."""

    MOBILE = "mobile"
    FIXED_LINE = "fixed line"
    FIXED_LINE_OR_MOBILE = "fixed line or mobile"
    VOIP = "voip"
    TOLL_FREE = "toll free"
    PREMIUM_RATE = "premium rate"
    SHARED_COST = "shared cost"
    PERSONAL_NUMBER = "personal number"
    PAGER = "pager"
    UAN = "company"
    VOICEMAIL = "voicemail"
    UNKNOWN = "unknown"


_MAY_GET_TEXTS: Final = {Kind.MOBILE, Kind.FIXED_LINE_OR_MOBILE, Kind.VOIP, Kind.PERSONAL_NUMBER, Kind.UNKNOWN}


@attrs.frozen
class PhoneNumber:
    """A number that exists in the numbering plan of a country.

    Attributes:
        e164: the number for `send_code`, as in `+33612345678`
        region: the country, ISO 3166-1 alpha-2, or None for a number of no country
        kind: the use of its range
    """

    e164: str = attrs.field(repr=masked)
    region: str | None
    kind: Kind

    @property
    def may_get_texts(self) -> bool:
        """False if no phone with SMS can have a number of this range. True does not guarantee it."""
        return self.kind in _MAY_GET_TEXTS

    @classmethod
    def parse(cls, text: str, *, region: str | None = None) -> "PhoneNumber":
        """Parse a number as people write and paste it: with spaces, brackets, hyphens, a leading 0 or 00, or `tel:`.

        Args:
            text: the number as the user typed it. Digits of any script; no letters, no extension.
            region: the country of numbers without a country code, ISO 3166-1 alpha-2 as in `FR`. None accepts numbers
                with a + only.

        Returns:
            the number, its country and its kind

        Raises:
            RequestValidationError: it is not a number of any plan; `.reason` says what to ask the user for and never
                repeats it. A range newer than the metadata is rejected too: upgrade phonenumberslite, or pass the
                E.164 form to `send_code` directly.

        Source: Google's libphonenumber metadata; ITU-T E.164.
        """
        found = _parsed(text, region)
        del text  # a traceback with locals would show it
        if isinstance(found, PhoneNumber):
            return found
        raise found


# ITU-T E.164, and the API's pattern; some fixed lines and service numbers have more.
_LONGEST: Final = len("+") + 15


def _parsed(text: str, region: str | None) -> PhoneNumber | RequestValidationError:  # noqa: PLR0911 - a list of rules, one a line
    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        hint = "; the United Kingdom is GB" if region == "UK" else ""
        return RequestValidationError("region", f"must be an ISO 3166-1 alpha-2 country in capitals, as in FR{hint}")
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - forms give None
        return _invalid(f"must be a string (str), not {type(text).__name__}; a number loses its leading zeros")
    typed = _TEL.sub("", "".join(map(_plain, text)).strip())
    if re.search(r"[^\W\d_]", typed):
        return _invalid("holds letters; ask for digits, without an extension")
    try:
        number = phonenumbers.parse(typed, region)
    except phonenumbers.NumberParseException as refusal:
        if refusal.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and "+" not in typed:
            return _invalid("has no country code; ask for it with a +, or give `region`")
        return _invalid(_REASONS[refusal.error_type])
    if number.extension:
        return _invalid("has an extension, to which no SMS can be sent; ask for the number only")
    if not phonenumbers.is_valid_number(number):
        return _invalid(_why_invalid(number))
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if len(e164) > _LONGEST:
        return _invalid("has more than 15 digits, which no mobile number has; ask for a mobile number")
    return PhoneNumber(
        e164=e164,
        region=_country(phonenumbers.region_code_for_number(number)),
        kind=Kind[phonenumbers.PhoneNumberType.to_string(phonenumbers.number_type(number))],
    )


def _invalid(reason: str) -> RequestValidationError:
    return RequestValidationError("phone_number", reason)


_TEL: Final = re.compile(r"tel:\s*", re.IGNORECASE)


def _plain(character: str) -> str:
    """Return a space for every kind of space, and nothing for an invisible character of copied numbers."""
    category = unicodedata.category(character)
    if category in {"Zs", "Zl", "Zp", "Cc"}:
        return " "
    return "" if category in {"Cf", "Mn"} else character


def _why_invalid(number: phonenumbers.PhoneNumber) -> str:
    country = _country(phonenumbers.region_code_for_country_code(number.country_code or 0))
    where = f"in {country}" if country else "under its country code"
    match phonenumbers.is_possible_number_with_reason(number):
        case phonenumbers.ValidationResult.TOO_SHORT | phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
            return f"has too few digits for a number {where}; ask for the whole number"
        case phonenumbers.ValidationResult.TOO_LONG:
            return f"has too many digits for a number {where}; ask for one number only"
        case phonenumbers.ValidationResult.INVALID_LENGTH:
            return f"has a length that no number {where} has; ask the user to check it"
        case _:
            return f"is in no range that is in use {where}; ask the user to check it"


def _country(region: str | None) -> str | None:
    return region if region and region.isalpha() and region != "ZZ" else None
