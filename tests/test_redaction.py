"""Secrets are masked in every spelling, and unrelated text stays."""

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from camara_otp._redaction import MASK, redact

NUMBER = "+34666111333"
CODE = "481516"
TOKEN = "Qj7xKp2mZ-bTr9wLd4vHs8nYf3cGa6eJu5iRo_WqB"  # 41 characters
SEPARATORS = {
    "space": " ",
    "tab": "\t",
    "line end": "\r\n",
    "no-break space": "\u00a0",
    "narrow no-break space": "\u202f",
    "figure space": "\u2007",
    "ideographic space": "\u3000",
    "zero-width space": "\u200b",
    "word joiner": "\u2060",
    "soft hyphen": "\u00ad",
    "right-to-left mark": "\u200f",
    "variation selector": "\ufe0f",
    "Hangul filler": "\u3164",
    "nbsp": "&nbsp;",
    "nbsp without semicolon": "&nbsp",
    "numeric reference": "&#160;",
    "escaped reference": "&amp;nbsp;",
    "escaped line end": "\\n",
    "percent": "%20",
    "plus": "+",
    "hyphen": "-",
    "non-breaking hyphen": "\u2011",
    "em dash": "\u2014",
    "minus": "\u2212",
    "underscore": "_",
    "colon": ":",
    "comma": ",",
    "dot": ".",
    "slash": "/",
    "middle dot": "\u00b7",
    "list": ", ",
    "tag": "<wbr>",
    "color": "\x1b[1m",
}


def wide(text):
    """Write ASCII characters in their full width."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def in_arabic(text):
    """Write digits in Arabic-Indic form."""
    return text.translate({ord("0") + digit: 0x660 + digit for digit in range(10)})


SPELLINGS = {
    "plain": str,
    "upper case": str.upper,
    "JSON": json.dumps,
    "JSON, every character": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "JSON twice": lambda s: json.dumps(json.dumps(s + '"')),
    "JavaScript": lambda s: "".join(f"\\x{ord(c):02X}" for c in s),
    "JavaScript, code points": lambda s: "".join(f"\\u{{{ord(c):x}}}" for c in s),
    "Python": lambda s: "".join(f"\\U{ord(c):08x}" for c in s),
    "HTML": lambda s: html.escape(s + "&"),
    "HTML, decimal": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "HTML, hexadecimal": lambda s: "".join(f"&#X{ord(c):x};" for c in s),
    "percent": lambda s: "".join(f"%{ord(c):02x}" for c in s),
    "percent three times": lambda s: quote(quote(quote(f"/{s}/", safe=""), safe=""), safe=""),
    "percent, Unicode": lambda s: "".join(f"%u{ord(c):04X}" for c in s),
    "form": quote_plus,
    "percent of HTML of JSON": lambda s: quote(html.escape(json.dumps(f"<{s}>")), safe=""),
    "wide": wide,
    "accented": lambda s: "".join(c + "\u0301" for c in s),
    "inside a word": lambda s: f"x{s}y",
    "twice in a row": lambda s: s + s,
    "spaced": " ".join,
    "in bold": lambda s: "".join(f"<b>{c}</b>" for c in s),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 of a pair": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64 of JSON": lambda s: base64.urlsafe_b64encode(json.dumps({"value": s}).encode()).decode().rstrip("="),
    "base64 in lines": lambda s: base64.encodebytes(f"{'x' * 50}{s}{'x' * 9}".encode()).decode(),
    "hexadecimal": lambda s: s.encode().hex(),
    "hexadecimal, by colons": lambda s: s.encode().hex(":").upper(),
}
FORMS = {"number": NUMBER, "digits of a number": NUMBER[1:], "code": CODE, "letters": "AJ7XKP", "token": TOKEN}


def gone(secret, text):
    """Return whether nothing of a string is left but its frame and parts that belong to no secret."""
    shown = redact(f"refused: {text} is wrong", [secret])
    core = secret.strip("+")
    return MASK in shown and not any(core[at : at + 4].lower() in shown.lower() for at in range(len(core) - 3))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", FORMS.values(), ids=FORMS)
def test_a_secret_is_masked_in_every_spelling(secret, spelling):
    text = SPELLINGS[spelling](secret)
    shown = redact(f"refused: {text} is wrong", [secret])

    assert gone(secret, text), shown
    assert shown.startswith("refused: ")
    assert shown.endswith(" is wrong")


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize(
    ("secret", "groups"),
    [
        (NUMBER, ("+34", "666", "111", "333")),
        (NUMBER, ("34", "666111333")),
        (NUMBER, ("666", "11", "13", "33")),
        (NUMBER, ("0034", "666", "111333")),
        (NUMBER, ("+34", "(0)666", "111", "333")),
        (CODE, ("481", "516")),
        (CODE, tuple(CODE)),
        ("AJY3", tuple("AJY3")),
        (TOKEN, (TOKEN[:10], TOKEN[10:20], TOKEN[20:])),
    ],
)
def test_a_grouped_secret_is_masked(secret, groups, separator):
    shown = redact(f"refused: {separator.join(groups)} is wrong", [secret])

    assert shown in {f"refused: {prefix}*** is wrong" for prefix in ("", "+", "+34" + separator)}


@pytest.mark.parametrize("text", [NUMBER, CODE])
def test_a_secret_in_other_digits_is_masked(text):
    assert redact(f"no {in_arabic(text)}", [text]) in {"no ***", "no +***"}
    assert redact(f"no {wide(text[-8:])}", [text]) == "no ***"


@pytest.mark.parametrize("length", range(20, len(TOKEN) + 1))
@pytest.mark.parametrize("encode", [str, lambda s: base64.b64encode(s.encode()).decode()], ids=["plain", "base64"])
def test_a_token_that_was_cut_off_is_masked(length, encode):
    """At either end, in the middle, and with dots in place of the rest."""
    for piece in (TOKEN[:length], TOKEN[-length:]):
        shown = redact(f"token {encode(piece)}... is invalid", [TOKEN])
        assert len(shown) <= len("token ***... is invalid") + 4, shown  # a cut may fall inside a character of base64


@pytest.mark.parametrize("token", [f"{TOKEN}+", f"+{TOKEN}", f"{TOKEN[:12]}+{TOKEN[12:]}"])
def test_a_token_with_a_plus_sign_is_no_prose_and_masked_in_shorter_pieces(token):
    assert redact(f"token {TOKEN[-19:]}... is invalid", [token]) == "token ***... is invalid"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_number_that_was_cut_off_is_masked(cut):
    assert redact(f"not {NUMBER[:-cut]}xx", [NUMBER]) == "not +***xx"


def test_a_number_that_was_cut_off_is_masked_behind_digits_that_repeat():
    """The finding before ends within the number."""
    assert redact("100100100100100100123", ["+1001001001234"]) == "***"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T16:23:08.481+01:00 request 7f3b-4a1c failed",
        "Sat, 28 Nov 2026 16:23:08 GMT",
        "2026-01-01 00:00:00 to 2026-12-31",
        "correlator 6b4f9d2e-0000-4a1c-9e1d-481aa516bb00",
        "trace 1732811234567, 34 attempts, 666 left",
        "call +1 555 0100 200 or +34 910 000 001",
        "10.0.0.1:9091 and [::1]:443",
        "Invalid verification code. Please request a new code.",
        "HTTP 400 INVALID_ARGUMENT: phoneNumber is not in E.164 format",
        '{"status": 400, "code": "ONE_TIME_PASSWORD_SMS.INVALID_OTP"}',
        "<p>100 % &amp; more &lt;b&gt; \\n</p>",
    ],
)
def test_unrelated_text_stays(text):
    """Other numbers, times, ids, and words that every message of this kind has."""
    message = "{{code}} is your verification code for Cool App, valid for five minutes"

    assert redact(text, [NUMBER, CODE, "AJY3", TOKEN, message]) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1128", "at 2026-11-28"),
        ("1623", "at 2026-11-28 16:23:08"),
        ("2308", "at 2026-11-28T16:23:08Z"),
        ("2026", "at 2026-11-28T16:23:08Z"),
        ("481516", "at 2026-11-28T16:23:08.481516Z"),
        ("2026", "Date: Sat, 28 Nov 2026 16:23:08 GMT"),
        ("1623", "Date: Sat, 28 Nov 2026 16:23:08 GMT"),
        ("about", "cab outside"),
        ("4815", "pages 4, or 8, or 1, or 5"),
        ("4815", "4        8        1        5"),
        ("or", "for ever"),
        ("123", "x1234"),
    ],
)
def test_a_short_code_does_not_mask_its_surroundings(code, text):
    assert redact(text, [code]) == text


def test_a_code_beside_a_date_is_masked():
    assert redact("2026-11-28 2026 is wrong since 2026-11-28", ["2026"]) == "2026-11-28 *** is wrong since 2026-11-28"


def test_a_mapping_names_the_masks_and_the_longest_secret_wins():
    masks = {"s3cret": "<code>", "s3cret-id": "<id>", NUMBER[1:]: "34...333"}

    assert redact(f"id s3cret-id of s3cret, {NUMBER}", masks) == "id <id> of <code>, +34...333"


def test_two_secrets_side_by_side_are_both_masked():
    assert redact(f"{TOKEN}{NUMBER}", [TOKEN, NUMBER]) in {"******", "***+***"}


def test_escapes_without_an_end_withhold_the_text():
    text = "4"
    for layer in range(40):
        text = quote(text[0], safe="").join(["", text[1:]]) if layer % 2 else f"&#{ord(text[0])};{text[1:]}"
        text = text.replace("&", "%26", 1) if layer % 2 else text.replace("%", "&#37;", 1)

    assert redact(f"x{text}81516y", [CODE]) == MASK


TEXTS = st.text(st.sampled_from("abcXYZ019 .,-_+/%&#;\\nux\u00e9\u00df\u0130\u200b\u3000\uff11\U0001f600<>\"'\n"))
SECRETS = st.text(st.sampled_from("abcXYZ019-._~+/=\u00e9\u0130 "), min_size=4, max_size=60)
SECRETS = SECRETS.filter(lambda secret: not secret.isdecimal())  # digits in a date are kept, see above


@given(before=TEXTS, secret=SECRETS, after=TEXTS)
@example(before="%4", secret="8abc", after="")
@example(before="\\", secret="nabc", after="")
@example(before="&#4", secret="8;abc", after="")
def test_a_plain_secret_is_masked_in_any_surroundings(before, secret, after):
    """Also if the surroundings and the secret form an escape."""
    assume(any(c.isalnum() for c in secret) and secret.strip(" +") == secret)
    assert secret not in redact(before + secret + after, [secret]).replace(MASK, "\x00")


@given(secret=SECRETS, text=TEXTS, way=st.sampled_from(sorted(SPELLINGS)))
def test_the_secret_itself_is_in_no_redacted_text(secret, text, way):
    assume(any(c.isalnum() for c in secret) and secret.strip(" +") == secret)

    assert secret not in redact(f"{text} {SPELLINGS[way](secret)} {text}", [secret]).replace(MASK, "\x00")


@given(text=TEXTS)
def test_a_string_without_the_secret_stays(text):
    assert redact(text, ["QVKWQVKW", "7777777777", "QVKWQVKWQVKWQVKWQVKWQVKW"]) in {text, MASK}


ASCII_TEXTS = st.text(st.characters(codec="ascii"))
ASCII_SECRETS = st.sampled_from([*FORMS.values(), "a+b=c/d~e.f g"])
ASCII_WAYS = st.sampled_from([way for way in SPELLINGS if SPELLINGS[way](TOKEN).isascii()])


@given(before=ASCII_TEXTS, secret=ASCII_SECRETS, way=ASCII_WAYS, after=ASCII_TEXTS)
def test_a_string_in_ascii_is_masked_as_one_with_other_characters_is(before, secret, way, after):
    """The faster reading of a string in ASCII finds the same secrets at the same places."""
    text = f"{before}{SPELLINGS[way](secret)}{after}"
    other = " \N{SNOWMAN}"

    assert redact(text + other, [secret]).removesuffix(other) == redact(text, [secret])


HOSTILE = [
    *("\\", "\\u", "\\u0041", "&", "&amp;", "&#", "&a;", "&#65;", "%", "%25", "%41", "%u0041", "Qj", "+", "\\n"),
    *("or", "7 ", "1------", "%26amp;", "&#37;41", "%5Cu0041", "<", "<a", "\x1b[", "\u0130", "\u200b", "48-1516 "),
    *(TOKEN[:15], TOKEN[16:28] + "x", NUMBER[3:], "7", "%37"),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_grows_with_the_length_of_the_text_and_no_faster(piece):
    """A string of 16 times the length takes about 16 times as long, not 256 times."""
    secrets = [NUMBER, CODE, "7777", "or", TOKEN * 20, "QjQjQjQjQjQjQjQjQjx"]

    def spent(size):
        text = (piece * size)[:size]
        rounds = []
        for _ in range(3):
            began = time.process_time()
            redact(text, secrets)
            rounds.append(time.process_time() - began)
        return min(rounds)

    assert spent(65536) < 64 * spent(4096) + 0.05


@pytest.mark.parametrize("code", ["XQQQXQ\x94H", "caé1", "Zoë99", "a@b1", "\u20acuro7"])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_a_value_outside_ascii_is_masked_however_often_it_is_percent_encoded(code, layers):
    text = code
    for _ in range(layers):
        text = quote(text, safe="")

    assert redact(f"the code {text} is wrong", [code]) == "the code *** is wrong"
