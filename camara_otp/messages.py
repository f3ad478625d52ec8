"""MessageTemplate: a message with a one-time code, its cost, and the last line with which phones fill in the code.

The API's limit of a message's length is in `models`, and the sandbox's in its `config`.
A message of 160 characters may be billed as three SMS, because one curly quote changes the encoding of all characters.
If a message ends with `@domain #code`, a phone offers the code only to the page of that domain, not to a phishing page.

Sources: 3GPP TS 23.038 (alphabets), 3GPP TS 23.040 (parts of a long SMS), WICG "Origin-bound one-time codes delivered
via SMS". Apple's domain-bound codes and the WebOTP API share the last one.
"""

import re
from typing import Final, Literal

import attrs

from camara_otp.errors import RequestValidationError
from camara_otp.models import CODE_LABEL, MAX_CODE_LENGTH, broken_limit

__all__ = ["Encoding", "MessageTemplate", "Segments", "segments_of"]

Encoding = Literal["GSM-7", "UCS-2"]
EmbeddedMark = Literal["%", "@"]

# TS 23.038 section 6.2.1, in the order of its table; the escape itself, 0x1B, is left out.
_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# TS 23.038 section 6.2.1.1: each is sent as the escape and one more septet.
_EXTENSION: Final = frozenset("\f^{}\\[~]|€")

# Units in one SMS, and in each part of a longer one, whose header takes 6 of 140 octets (TS 23.040, 9.2.3.24.1).
_CAPACITY: Final[dict[Encoding, tuple[int, int]]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}

_DOMAIN_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_BOUND_LINE: Final = re.compile(r"@(?P<domain>\S+) #(?P<code>\S+)( [%@](?P<embedded>\S+))?.*", re.ASCII)


@attrs.frozen
class Segments:
    """The cost of a message: operators bill each part.

    Attributes:
        count: the number of parts
        encoding: `"GSM-7"`, or `"UCS-2"` as soon as one character is outside the GSM alphabet
        units: the billed length: septets in GSM-7, 16-bit units in UCS-2
        free: the unused units of the last part
        blame: the characters that force UCS-2, in order of appearance; empty for GSM-7
        doubled: the characters that take two units: GSM's extension table, or beyond 16 bits in UCS-2
    """

    count: int
    encoding: Encoding
    units: int
    free: int
    blame: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()


@attrs.frozen
class MessageTemplate:
    """The message of `send_code`, checked, before the operator inserts the code.

    Args:
        text: at most 160 characters, with the label `{{code}}` where the code goes

    Raises:
        RequestValidationError: the message breaks a limit of the API

    Source: CAMARA One Time Password SMS 1.1.1, schema Message.
    """

    text: str = attrs.field(repr=False)

    def __attrs_post_init__(self) -> None:
        if (error := broken_limit(message=self.text)) is not None:
            raise error

    def segments(self, *, code_length: int = 6) -> Segments:
        """Count the parts of the message with a code in place of every label.

        The default alphabet with its extension table is assumed, without national language tables. An operator that
        adds a line of its own may need more parts.

        Args:
            code_length: characters of the operator's codes, 1 to 10, letters or digits

        Returns:
            the count, the encoding and the characters that force it

        Raises:
            RequestValidationError: code_length is not a whole number, or out of its range

        Source: 3GPP TS 23.038 section 6.2.1, 3GPP TS 23.040 section 9.2.3.24.1.
        """
        if isinstance(code_length, bool) or not isinstance(code_length, int):  # pyright: ignore[reportUnnecessaryIsInstance] - settings give text
            kind = type(code_length).__name__
            raise RequestValidationError("code_length", f"must be a whole number (int), not {kind}")
        if not 1 <= code_length <= MAX_CODE_LENGTH:
            raise RequestValidationError("code_length", f"must be 1 to {MAX_CODE_LENGTH}, the limits of a code")
        return segments_of(self.text.replace(CODE_LABEL, "0" * code_length))

    def bound_to(
        self, domain: str, *, embedded: str | None = None, embedded_mark: EmbeddedMark = "%"
    ) -> "MessageTemplate":
        """Return this message with a last line that binds the code to a domain, for AutoFill and WebOTP.

        The line is `@domain #{{code}}`, so the message has the label twice. If your operator replaces only the first
        one, leave it out of the words before:
        `MessageTemplate.domain_bound("Your code for Cool App:", "example.com")`.

        Args:
            domain: the host of the page that asks for the code, as in `example.com`: no scheme, port or path; an
                international one in its ASCII form (`xn--...`)
            embedded: the host of the frame that asks for the code, if it is another site's
            embedded_mark: the sign before that host: `%` as in the draft, or `@` as in Chrome's instructions for
                WebOTP in frames. They contradict each other: test it with the browsers of your users.

        Returns:
            a new message, with an empty line before the last one

        Raises:
            RequestValidationError: a domain has another form, or the message is longer than 160 characters

        Source: WICG, Origin-bound one-time codes delivered via SMS, section 3.
        """
        return MessageTemplate(f"{self.text}\n\n{_bound_line(domain, embedded, embedded_mark)}")

    @classmethod
    def domain_bound(
        cls, words: str, domain: str, *, embedded: str | None = None, embedded_mark: EmbeddedMark = "%"
    ) -> "MessageTemplate":
        """Return a message whose last line binds the code to a domain; the words before need no label.

        Args:
            words: the words before; may be empty
            domain: as in `bound_to`
            embedded: as in `bound_to`
            embedded_mark: as in `bound_to`

        Returns:
            the message

        Raises:
            RequestValidationError: a domain has another form, or the message is longer than 160 characters

        Source: WICG, Origin-bound one-time codes delivered via SMS, section 3.
        """
        line = _bound_line(domain, embedded, embedded_mark)
        return cls(f"{words}\n\n{line}" if words else line)

    @property
    def domain(self) -> str | None:
        """The domain to which a phone binds the code, or None if the last line has another form."""
        found = _BOUND_LINE.fullmatch(_last_line(self.text))
        if found is None or found["code"] != CODE_LABEL:
            return None
        return found["domain"]


def segments_of(text: str) -> Segments:
    """Count the parts of a finished message.

    Args:
        text: the message that the phone receives, code included

    Returns:
        the count, the encoding and the characters that force it

    Source: 3GPP TS 23.038 section 6.2.1, 3GPP TS 23.040 section 9.2.3.24.1.
    """
    blame = tuple(dict.fromkeys(character for character in text if character not in _BASIC | _EXTENSION))
    encoding: Encoding = "UCS-2" if blame else "GSM-7"
    sizes = [_size(character, encoding) for character in text]
    doubled = tuple(dict.fromkeys(character for character, size in zip(text, sizes, strict=True) if size == 2))
    single, part = _CAPACITY[encoding]
    units = sum(sizes)
    if units <= single:
        return Segments(1, encoding, units, single - units, blame, doubled)
    count, used = 1, 0
    for size in sizes:
        if used + size > part:  # the halves of a character that takes two units stay together
            count, used = count + 1, 0
        used += size
    return Segments(count, encoding, units, part - used, blame, doubled)


def _size(character: str, encoding: Encoding) -> int:
    if encoding == "GSM-7":
        return 2 if character in _EXTENSION else 1
    return 2 if ord(character) > 0xFFFF else 1


def _bound_line(domain: str, embedded: str | None, mark: EmbeddedMark) -> str:
    if mark not in ("%", "@"):
        raise RequestValidationError("embedded_mark", "must be % or @")
    line = f"@{_host('domain', domain)} #{CODE_LABEL}"
    return line if embedded is None else f"{line} {mark}{_host('embedded', embedded)}"


def _host(field: str, value: str) -> str:
    host = value.lower() if value.isascii() else value
    if not host.isascii():
        raise RequestValidationError(field, "must be in its ASCII form (xn--...), as the browser's address has it")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_DOMAIN_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise RequestValidationError(
            field, "must be only a host name, as in example.com: no scheme, no port, no path, no IP address"
        )
    return host


def _last_line(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").rsplit("\n", 1)[-1]
