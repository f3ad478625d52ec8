"""Templates against the published alphabets, part sizes and the last line's grammar."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camara_otp import OTPClient, RequestValidationError, SendCodeRequest
from camara_otp.messages import MessageTemplate, Segments, segments_of
from camara_otp.sandbox import Sandbox

# TS 23.038 section 6.2.1 as the code points of each row of the table, 0x00 to 0x7F, and the extension beside it:
# written out from the standard's columns, not from the module.
ROWS = [
    [0x40, 0xA3, 0x24, 0xA5, 0xE8, 0xE9, 0xF9, 0xEC, 0xF2, 0xC7, 0x0A, 0xD8, 0xF8, 0x0D, 0xC5, 0xE5],
    [0x394, 0x5F, 0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, None, 0xC6, 0xE6, 0xDF, 0xC9],
    [0x20, 0x21, 0x22, 0x23, 0xA4, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F],
    [*range(0x30, 0x40)],
    [0xA1, *range(0x41, 0x50)],
    [*range(0x50, 0x5B), 0xC4, 0xD6, 0xD1, 0xDC, 0xA7],
    [0xBF, *range(0x61, 0x70)],
    [*range(0x70, 0x7B), 0xE4, 0xF6, 0xF1, 0xFC, 0xE0],
]
BASIC = [chr(point) for row in ROWS for point in row if point is not None]
EXTENSION = [chr(point) for point in (0x0C, 0x5E, 0x7B, 0x7D, 0x5C, 0x5B, 0x7E, 0x5D, 0x7C, 0x20AC)]


def test_the_basic_alphabet_is_the_published_one():
    """All 127 characters cost one septet, and no other character of 16 bits does."""
    assert len(BASIC) == 127
    cheap = {
        chr(point)
        for point in range(0x10000)
        if segments_of(chr(point)).units == 1 and not segments_of(chr(point)).blame
    }

    assert cheap == set(BASIC)


def test_the_extension_table_is_the_published_one():
    """Its ten characters cost two septets and force no other encoding."""
    for character in EXTENSION:
        assert segments_of(character) == Segments(1, "GSM-7", 2, 158, (), (character,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments(1, "GSM-7", 0, 160)),
        ("a" * 160, Segments(1, "GSM-7", 160, 0)),
        ("a" * 161, Segments(2, "GSM-7", 161, 145)),
        ("a" * 306, Segments(2, "GSM-7", 306, 0)),
        ("a" * 307, Segments(3, "GSM-7", 307, 152)),
        ("€" * 80, Segments(1, "GSM-7", 160, 0, (), ("€",))),
        ("a" * 159 + "€", Segments(2, "GSM-7", 161, 145, (), ("€",))),
        # The 153rd septet of the first part cannot hold half of a character.
        ("a" * 152 + "€" + "a" * 10, Segments(2, "GSM-7", 164, 141, (), ("€",))),
        ("ы" * 70, Segments(1, "UCS-2", 70, 0, ("ы",))),
        ("ы" * 71, Segments(2, "UCS-2", 71, 63, ("ы",))),
        ("ы" * 135, Segments(3, "UCS-2", 135, 66, ("ы",))),
        ("a" * 70 + "’", Segments(2, "UCS-2", 71, 63, ("’",))),
        ("👋" * 35, Segments(1, "UCS-2", 70, 0, ("👋",), ("👋",))),
        # 67 is odd: the 34th waves over into the next part.
        ("👋" * 36, Segments(2, "UCS-2", 72, 61, ("👋",), ("👋",))),
        ("don’t – ’", Segments(1, "UCS-2", 9, 61, ("’", "–"))),
        ("{ы}", Segments(1, "UCS-2", 3, 67, ("ы",))),
    ],
)
def test_counts_parts_as_they_are_billed(text, expected):
    """At the edges of one part, of two, and of characters that take two units."""
    assert segments_of(text) == expected


@given(st.text(alphabet=st.sampled_from([*"aé{€", "ы", "👋"]), max_size=400))
@example("a" * 152 + "€" * 200)
def test_parts_hold_the_whole_text(text):
    """The units fit into the parts, and no more parts than needed are counted."""
    result = segments_of(text)
    single, part = (160, 153) if result.encoding == "GSM-7" else (70, 67)

    assert 0 <= result.free <= single
    if result.count == 1:
        assert result.units + result.free == single
    else:
        assert result.units > single
        wasted = result.count * part - result.units - result.free
        assert 0 <= wasted < result.count  # at most one unit a part, where a character would not split


def test_the_label_is_counted_as_the_code_and_not_as_braces():
    """Braces cost two septets each, but are never sent."""
    template = MessageTemplate("{{code}} is your code")

    assert template.segments() == Segments(1, "GSM-7", 6 + 13, 160 - 19)
    assert template.segments(code_length=10).units == 10 + 13
    assert MessageTemplate("{{code}} {{code}}").segments(code_length=4).units == 9


@pytest.mark.parametrize("length", [0, 11, -1])
def test_a_code_has_1_to_10_characters(length):
    """Other lengths are refused."""
    with pytest.raises(RequestValidationError, match="code_length: must be 1 to 10"):
        MessageTemplate("{{code}}").segments(code_length=length)


@pytest.mark.parametrize("length", ["6", 6.0, None, True])
def test_a_length_that_is_no_whole_number_is_an_error_of_ours(length):
    with pytest.raises(RequestValidationError, match=r"code_length: must be a whole number \(int\), not "):
        MessageTemplate("{{code}}").segments(code_length=length)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("no label", "must contain {{code}}"), ("{code}", "f-string"), ("{{code}}" + "a" * 153, "at most 160")],
)
def test_a_template_keeps_the_limits_of_the_api(text, reason):
    """The same rules and remedies as a request."""
    with pytest.raises(RequestValidationError, match=reason) as caught:
        MessageTemplate(text)

    assert caught.value.field == "message"


def parse_origin_bound(message):
    """Follow the parsing steps of the published draft, section 3.2: (host, code, embedded host) or None."""
    line = message.replace("\r\n", "\n").replace("\r", "\n").split("\n")[-1]
    position = 0

    def marked(marker):
        nonlocal position
        if position >= len(line) or line[position] != marker:
            return None
        position += 1
        start = position
        while position < len(line) and line[position] not in "\t\n\f\r ":
            position += 1
        return line[start:position] or None

    host = marked("@")
    if host is None or line[position : position + 1] != " ":
        return None
    position += 1
    code = marked("#")
    if code is None:
        return None
    embedded = None
    if line[position : position + 1] == " ":
        position += 1
        embedded = marked("%")
    return host, code, embedded


@pytest.mark.parametrize("embedded", [None, "pay.example"])
@pytest.mark.parametrize("code", ["123456", "AJY3", "0000"])
def test_the_last_line_reads_as_a_domain_bound_code(code, embedded):
    """With the code filled in, it parses by the published steps."""
    template = MessageTemplate("{{code}} is your Cool App code.").bound_to("example.com", embedded=embedded)

    received = template.text.replace("{{code}}", code)

    assert parse_origin_bound(received) == ("example.com", code, embedded)
    assert received.startswith(f"{code} is your Cool App code.\n\n@example.com #{code}")
    assert template.domain == "example.com"


@pytest.mark.parametrize("words", ["Your code for Cool App:", ""])
def test_the_label_can_stand_in_the_last_line_alone(words):
    """Some operators replace one label only."""
    template = MessageTemplate.domain_bound(words, "example.com")

    assert template.text.count("{{code}}") == 1
    assert parse_origin_bound(template.text.replace("{{code}}", "1234")) == ("example.com", "1234", None)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("@example.com #{{code}}", "example.com"),
        ("hello\r\n@example.com #{{code}}", "example.com"),
        ("hello\r@example.com #{{code}} %pay.example", "example.com"),
        ("@example.com #{{code}} $later", "example.com"),
        ("{{code}}", None),
        ("something @example.com #{{code}}", None),
        ("#{{code}} @example.com", None),
        ("@example.com code #{{code}}", None),
        ("@example.com  #{{code}}", None),
        ("@ #{{code}}", None),
        ("@example.com #{{code}}\n", None),
        ("@example.com #{{code}}.", None),
        ("@example.com #G-{{code}}", None),
        ("{{code}}\n@example.com #1234", None),
    ],
)
def test_finds_the_domain_that_a_phone_would_find(text, domain):
    """A label that is not alone between # and the next space does not count: the phone would fill in a wrong code."""
    assert MessageTemplate(text).domain == domain
    parsed = parse_origin_bound(text)
    assert (parsed[0] if parsed and parsed[1] == "{{code}}" else None) == domain


@given(st.text(alphabet="@# %ab.\n\r\t\f", max_size=12), st.text(alphabet="@# %ab.\n\r\t\f", max_size=6))
def test_agrees_with_the_published_steps(before, after):
    """With any text around the label."""
    text = f"{before}#{{{{code}}}}{after}"
    parsed = parse_origin_bound(text)

    assert MessageTemplate(text).domain == (parsed[0] if parsed and parsed[1] == "{{code}}" else None)


def test_a_domain_is_written_in_small_letters():
    """Browsers compare it in lower case."""
    assert MessageTemplate("{{code}}").bound_to("Example.COM").domain == "example.com"


def test_the_frame_may_be_marked_as_chrome_has_it():
    """The draft and Chrome's documentation differ in one character."""
    template = MessageTemplate("{{code}} is your code.").bound_to("a.example", embedded="b.example", embedded_mark="@")

    assert template.text.splitlines()[-1] == "@a.example #{{code}} @b.example"
    assert template.domain == "a.example"
    words = MessageTemplate.domain_bound("Your code:", "a.example", embedded="b.example", embedded_mark="@")
    assert words.text.endswith("@a.example #{{code}} @b.example")


def test_another_mark_is_refused():
    """The error names the argument."""
    with pytest.raises(RequestValidationError, match="embedded_mark"):
        MessageTemplate.domain_bound("", "a.example", embedded="b.example", embedded_mark="#")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "domain",
    [
        "https://example.com", "example.com:443", "example.com/login", "exam ple.com", "-a.com", "a-.com", "a..com",
        ".com", "com.", "", "127.0.0.1", "a" * 64 + ".com", ".".join(["a" * 50] * 6), "example.com\n", "ex_ample.com",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["domain", "embedded"])
def test_refuses_what_is_no_host_name(domain, field):
    """The message has the name of the argument and the right form."""
    arguments = {"domain": "example.com", field: domain}

    with pytest.raises(RequestValidationError, match="must be only a host name") as caught:
        MessageTemplate("{{code}}").bound_to(**arguments)

    assert caught.value.field == field


def test_asks_for_the_ascii_form_of_an_international_domain():
    """A letter outside ASCII more than halves the length of an SMS, and browsers compare the ASCII form."""
    with pytest.raises(RequestValidationError, match="xn--"):
        MessageTemplate("{{code}}").bound_to("bücher.example")

    assert MessageTemplate("{{code}}").bound_to("xn--bcher-kva.example").segments().encoding == "GSM-7"


def test_the_last_line_counts_towards_the_limit():
    """A message that does not fit is refused before anything is sent."""
    with pytest.raises(RequestValidationError, match="at most 160"):
        MessageTemplate("{{code}}" + "a" * 140).bound_to("example.com")


def test_shows_no_message_in_repr():
    assert repr(MessageTemplate("{{code}} secret words")) == "MessageTemplate()"


def test_arrives_at_a_phone_as_it_was_built():
    """End to end: the operator replaces both labels, and the phone finds domain and code."""
    operator = Sandbox()
    template = MessageTemplate("{{code}} is your Cool App code.").bound_to("example.com")
    with operator.serve() as url, OTPClient(url, token="any") as otp:
        sent = otp.send_code("+33612345678", template.text)
        received = operator.messages("+33612345678")[-1].text
        found = parse_origin_bound(received)
        assert found is not None
        otp.validate_code(sent.authentication_id, found[1])

    assert found[0] == "example.com"
    assert segments_of(received) == template.segments(code_length=len(found[1]))
    assert SendCodeRequest("+33612345678", template.text)
