"""Typed numbers become E.164, or a reason that a login page can show."""

import subprocess
import sys
import traceback

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camara_otp import RequestValidationError, SendCodeRequest
from camara_otp.phone import Kind, PhoneNumber


@pytest.mark.parametrize(
    ("typed", "region", "e164", "country"),
    [
        ("0612345678", "FR", "+33612345678", "FR"),
        ("06 12 34 56 78", "FR", "+33612345678", "FR"),
        (" 06.12.34.56.78\n", "FR", "+33612345678", "FR"),
        ("(06) 12-34-56-78", "FR", "+33612345678", "FR"),
        ("0033 6 12 34 56 78", "FR", "+33612345678", "FR"),
        ("+33 (0)6 12 34 56 78", None, "+33612345678", "FR"),
        ("tel:+33-6-12-34-56-78", None, "+33612345678", "FR"),
        ("TEL:+33-6-12-34-56-78", None, "+33612345678", "FR"),
        ("Tel: 06 12 34 56 78", "FR", "+33612345678", "FR"),
        ("06\u202f12\u202f34\u202f56\u202f78", "FR", "+33612345678", "FR"),
        ("06\u200912\u200a34\u200556\u300078", "FR", "+33612345678", "FR"),
        ("+33\t6\u202812\r\n34 56 78", None, "+33612345678", "FR"),
        ("\u200e+33 6 12 34 56 78\u200f", None, "+33612345678", "FR"),
        ("\u202a+33\u2060612\u200b345\u00ad678\ufeff\u202c", None, "+33612345678", "FR"),
        ("+33\u20116\u201112\u201134\u201356\u201478", None, "+33612345678", "FR"),
        ("\uff0b33\u2212612345678", None, "+33612345678", "FR"),
        ("٠٦١٢٣٤٥٦٧٨", "FR", "+33612345678", "FR"),
        ("０６１２３４５６７８", "FR", "+33612345678", "FR"),
        ("+33612345678", "DE", "+33612345678", "FR"),
        ("0171/1234567", "DE", "+491711234567", "DE"),
        ("666 111 222", "ES", "+34666111222", "ES"),
        ("347 123 4567", "IT", "+393471234567", "IT"),
        ("(650) 253-0000", "US", "+16502530000", "US"),
        ("+800 1234 5678", None, "+80012345678", None),
    ],
)
def test_reads_what_people_write(typed, region, e164, country):
    """Spaces, brackets, prefixes and other digits give the same number, with its country."""
    number = PhoneNumber.parse(typed, region=region)

    assert (number.e164, number.region) == (e164, country)
    assert SendCodeRequest(number.e164, "{{code}}").phone_number == e164


@pytest.mark.parametrize(
    ("typed", "region", "reason"),
    [
        ("0612345678", None, "has no country code; ask for it with a +, or give `region`"),
        ("+999 1234567", None, "begins with no known country code after the +"),
        ("", "FR", "is not a phone number; ask for digits"),
        ("1", "FR", "is not a phone number; ask for digits"),
        ("+33", None, "is not a phone number; ask for digits"),
        ("00 44 7", "FR", "is too short; ask for the whole number"),
        ("06123", "FR", "has too few digits for a number in FR; ask for the whole number"),
        ("+49928233025228858", None, "has more than 15 digits, which no mobile number has; ask for a mobile number"),
        ("0612345678 9", "FR", "has too many digits for a number in FR; ask for one number only"),
        ("+44 79111", None, "has too few digits for a number in GB; ask for the whole number"),
        ("+49 1", None, "is too short; ask for the whole number"),
        ("+65 777777777", None, "has a length that no number in SG has; ask the user to check it"),
        ("+1 555 555 5555", None, "is in no range that is in use in US; ask the user to check it"),
        ("+800 1234", None, "has too few digits for a number under its country code; ask for the whole number"),
        ("0612345678 0698765432", "FR", "is too long; ask for one number only"),
        ("06 12 34 56 78 #5", "FR", "has an extension, to which no SMS can be sent; ask for the number only"),
        ("0612345678;0698765432", "FR", "has an extension"),
        ("0612345678 ext. 5", "FR", "holds letters; ask for digits, without an extension"),
        ("0800-FLOWERS", "GB", "holds letters; ask for digits, without an extension"),
        (None, "FR", "must be a string (str), not NoneType"),
        (612345678, "FR", "must be a string (str), not int; a number loses its leading zeros"),
    ],
)
def test_says_what_to_ask_for(typed, region, reason):
    """Every refusal names the field, and is a sentence with a remedy."""
    with pytest.raises(RequestValidationError) as caught:
        PhoneNumber.parse(typed, region=region)

    assert caught.value.field == "phone_number"
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("region", "hint"), [("UK", "GB"), ("fr", "capitals"), ("", "FR"), ("FRA", "FR"), ("001", "FR")]
)
def test_a_region_is_a_country_code_in_capitals(region, hint):
    """A wrong region is named, and UK gets the hint GB."""
    with pytest.raises(RequestValidationError, match=hint) as caught:
        PhoneNumber.parse("0612345678", region=region)

    assert caught.value.field == "region"


@pytest.mark.parametrize(
    ("typed", "kind", "may_get_texts"),
    [
        ("+33612345678", Kind.MOBILE, True),
        ("+33123456789", Kind.FIXED_LINE, False),
        ("+16502530000", Kind.FIXED_LINE_OR_MOBILE, True),
        ("+33800123456", Kind.TOLL_FREE, False),
        ("+33899123456", Kind.PREMIUM_RATE, False),
    ],
)
def test_knows_a_landline_from_a_mobile(typed, kind, may_get_texts):
    """A page can avoid an SMS that cannot arrive."""
    number = PhoneNumber.parse(typed)

    assert (number.kind, number.may_get_texts) == (kind, may_get_texts)


def test_every_kind_of_the_metadata_has_a_name():
    names = {phonenumbers.PhoneNumberType.to_string(value) for value in phonenumbers.PhoneNumberType.values()}

    assert names == set(Kind.__members__)


# Tristan da Cunha has no mobile network.
@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS - {"TA"}))
def test_reads_every_countrys_own_mobile_example(region):
    """The national form becomes E.164 within the limits of the API."""
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    typed = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)

    number = PhoneNumber.parse(typed, region=region)

    assert number.e164 == phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    assert SendCodeRequest(number.e164, "{{code}}")
    assert number.may_get_texts


@given(st.text(alphabet="0123456789+ -./()#,;~x/\\?", max_size=24))
def test_no_digit_is_lost(typed):
    """An accepted number ends with the last typed digits, so a second number is never dropped."""
    try:
        number = PhoneNumber.parse(typed, region="FR")
    except RequestValidationError:
        return

    digits = "".join(character for character in typed if character.isdigit())
    assert number.e164[-6:] == digits[-6:]


def test_shows_no_number_in_repr_nor_in_a_traceback_with_locals():
    """Only the last two digits are shown, and none if parsing fails."""
    assert (
        repr(PhoneNumber.parse("+33612345678")) == "PhoneNumber(e164=***78, region='FR', kind=<Kind.MOBILE: 'mobile'>)"
    )
    try:
        PhoneNumber.parse("06123", region="FR")
    except RequestValidationError as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        shown = str(error) + "".join(str(frame.f_locals) for frame, _ in frames[1:])
    assert "06123" not in shown


def test_without_the_extra_the_remedy_is_named():
    """The import error names the package to install."""
    program = "import sys; sys.modules['phonenumbers'] = None\nimport camara_otp.phone"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert "pip install 'camara-otp[phone]'" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError")
