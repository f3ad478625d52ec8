"""The commands."""

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from rich.table import Table

from camara_otp import (
    ConfigurationError,
    InvalidOTPError,
    OTPClient,
    OTPError,
    RequestValidationError,
    SendCodeResponse,
    ValidateCodeResponse,
    VerificationExpiredError,
    VerificationFailedError,
    __version__,
)
from camara_otp._endpoint import shown_url
from camara_otp.auth import MemoryStore, StaticToken
from camara_otp.cli import sends
from camara_otp.cli.check import check
from camara_otp.cli.outcome import Exit, Screen, at_terminal, can_answer, exit_code, plain
from camara_otp.cli.settings import (
    DEFAULT_MESSAGE,
    KNOWN,
    Setting,
    client,
    environment,
    profiles,
    profiles_file,
    provider,
    resolve,
    token_source,
)
from camara_otp.errors import CODES

app: typer.Typer = typer.Typer(
    help="Send one-time codes by SMS over CAMARA's API, check them, and check the operators that send them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: " + "; ".join(f"{code:d} {code.meaning}" for code in Exit) + ".",
)


def _profile_names(incomplete: str) -> list[str]:
    try:
        return [name for name in profiles(profiles_file(environment())) if name.startswith(incomplete)]
    except ConfigurationError:
        return []


def _codes(incomplete: str) -> list[str]:
    return [name for name in map(_short, CODES) if name.startswith(incomplete.upper())]


_PROFILE = "Where to send"
Profile = Annotated[
    str | None,
    typer.Option(
        help="Profile to use, from the profiles file.", autocompletion=_profile_names, rich_help_panel=_PROFILE
    ),
]
BaseURL = Annotated[str | None, typer.Option(help="The operator's API root.", rich_help_panel=_PROFILE)]
APIPath = Annotated[str | None, typer.Option(help="Path between root and operation.", rich_help_panel=_PROFILE)]
Timeout = Annotated[float | None, typer.Option(help="Seconds for one call.", rich_help_panel=_PROFILE)]
TokenFile = Annotated[Path | None, typer.Option(help="File with the access token.", rich_help_panel=_PROFILE)]
TokenStdin = Annotated[
    bool, typer.Option("--token-stdin", help="Read the access token from standard input.", rich_help_panel=_PROFILE)
]
InsecureToken = Annotated[
    str | None,
    typer.Option(
        "--insecure-token-argument",
        help="The access token itself, which everybody on this machine can then read in the process list.",
        rich_help_panel=_PROFILE,
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show each attempt with its x-correlator.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="The phone, in international form: +34600000000.")]
Message = Annotated[str | None, typer.Option(help="The text, with the label {{code}}; at most 160 characters.")]


def _version(value: bool) -> None:  # noqa: FBT001  (Typer's way)
    if value:
        typer.echo(f"camara-otp {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _settings(
    screen: Screen,
    profile: str | None,
    *,
    token_file: Path | None = None,
    token_stdin: bool = False,
    insecure_token: str | None = None,
    **options: Any,
) -> dict[str, Setting]:
    """Return the settings of a command, or end with what is wrong about them."""
    environ = environment()
    if sum((token_file is not None, token_stdin, insecure_token is not None)) > 1:
        screen.usage("give one of --token-file, --token-stdin and --insecure-token-argument")
    token = screen.token_line() if token_stdin else insecure_token
    given = {**options, "token": token, "token_file": str(token_file) if token_file else None}
    try:
        return resolve(given, environ, profile, profiles_file(environ))
    except ConfigurationError as error:
        screen.failed(error)


def _client(screen: Screen, settings: dict[str, Setting]) -> OTPClient:
    try:
        return client(settings)
    except OTPError as error:
        screen.failed(error)


def _send(
    screen: Screen, otp: OTPClient, settings: dict[str, Setting], number: str, message: str | None, *, yes: bool
) -> SendCodeResponse:
    """Send a code, after asking if one went to the number a short while ago."""
    memory, operator = sends.memory_file(environment()), str(settings["base_url"].value)
    last = sends.last(memory, operator, number)
    if last is not None:
        ago = time.time() - last
        screen.sure(
            f"A code went to this number {ago:.0f} s ago, or may have; another one makes it worthless. Send again?",
            yes=yes,
        )
    text = message
    if text is None:
        text = str(settings["message"].value) if "message" in settings else DEFAULT_MESSAGE
    # Beforehand: a process that is killed half-way may have sent a text, too.
    at, before = sends.remember(memory, operator, number)
    try:
        with screen.waiting("Sending"):
            return otp.send_code(number, text)
    except KeyboardInterrupt:
        screen.stopped("\nStopped while sending: a text may have gone out.", outcome_unknown=True)
    except OTPError as error:
        if not error.outcome_unknown:
            sends.take_back(memory, operator, number, at, before)
        screen.failed(error)


def _validate(screen: Screen, otp: OTPClient, authentication_id: str, code: str) -> ValidateCodeResponse:
    try:
        with screen.waiting("Checking"):
            return otp.validate_code(authentication_id, code)
    except KeyboardInterrupt:
        screen.stopped(
            "\nStopped while checking: the operator may have taken the code, or counted a wrong one. "
            "The number does not count as verified.",
            outcome_unknown=True,
        )


def _answerable(screen: Screen) -> None:
    """End before anything is sent if the code could never be given."""
    if not can_answer():
        screen.usage("standard input is closed, so that no code can be given: pipe it in, or use send and validate")


@app.command()
def send(
    *,
    number: Number,
    message: Message = None,
    profile: Profile = None,
    base_url: BaseURL = None,
    api_path: APIPath = None,
    timeout: Timeout = None,
    token_file: TokenFile = None,
    token_stdin: TokenStdin = False,
    insecure_token: InsecureToken = None,
    as_json: AsJSON = False,
    verbose: Verbose = False,
    yes: Yes = False,
) -> None:
    """Text a code to a phone, and print the authenticationId that checks it."""
    screen = Screen(as_json=as_json, verbose=verbose)
    settings = _settings(
        screen,
        profile,
        token_file=token_file,
        token_stdin=token_stdin,
        insecure_token=insecure_token,
        base_url=base_url,
        api_path=api_path,
        timeout=timeout,
    )
    with _client(screen, settings) as otp:
        sent = _send(screen, otp, settings, number, message, yes=yes)
    screen.note("✓ Accepted for sending. The authenticationId:", "green")
    screen.result(
        {"authenticationId": sent.authentication_id, "xCorrelator": sent.x_correlator}, sent.authentication_id
    )


@app.command()
def validate(
    *,
    authentication_id: Annotated[str, typer.Argument(metavar="ID", help="What `send` printed.")],
    code: Annotated[str | None, typer.Argument(help="What the person read; asked for if left out.")] = None,
    profile: Profile = None,
    base_url: BaseURL = None,
    api_path: APIPath = None,
    timeout: Timeout = None,
    token_file: TokenFile = None,
    token_stdin: TokenStdin = False,
    insecure_token: InsecureToken = None,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Check a code."""
    screen = Screen(as_json=as_json, verbose=verbose)
    settings = _settings(
        screen,
        profile,
        token_file=token_file,
        token_stdin=token_stdin,
        insecure_token=insecure_token,
        base_url=base_url,
        api_path=api_path,
        timeout=timeout,
    )
    with _client(screen, settings) as otp:
        if code is None:
            _answerable(screen)
        typed = code if code is not None else screen.prompt("Code")
        try:
            valid = _validate(screen, otp, authentication_id, typed)
        except OTPError as error:
            screen.failed(error)
    screen.result({"valid": True, "xCorrelator": valid.x_correlator}, "✓ The code is right.")


@app.command()
def verify(
    *,
    number: Number,
    message: Message = None,
    profile: Profile = None,
    base_url: BaseURL = None,
    api_path: APIPath = None,
    timeout: Timeout = None,
    token_file: TokenFile = None,
    token_stdin: TokenStdin = False,
    insecure_token: InsecureToken = None,
    as_json: AsJSON = False,
    verbose: Verbose = False,
    yes: Yes = False,
) -> None:
    """Text a code to a phone, ask for it, and check it, in one go."""
    screen = Screen(as_json=as_json, verbose=verbose)
    settings = _settings(
        screen,
        profile,
        token_file=token_file,
        token_stdin=token_stdin,
        insecure_token=insecure_token,
        base_url=base_url,
        api_path=api_path,
        timeout=timeout,
    )
    with _client(screen, settings) as otp:
        _answerable(screen)
        sent = _send(screen, otp, settings, number, message, yes=yes)
        screen.note("✓ Accepted for sending.", "green")
        valid: ValidateCodeResponse | None = None
        last: OTPError | None = None
        while valid is None:
            typed = screen.prompt("Code", otherwise=last, authentication_id=sent.authentication_id)
            try:
                valid = _validate(screen, otp, sent.authentication_id, typed)
            except InvalidOTPError as error:
                last = error
                screen.note("✗ That is not the code. Try again.", "yellow")
            except RequestValidationError as error:
                last = error
                screen.note(f"✗ {error.field} {error.reason}. Try again.", "yellow")
            except (VerificationExpiredError, VerificationFailedError) as error:
                if as_json or not at_terminal():
                    screen.failed(error)
                screen.note(f"✗ {error.cause}", "yellow")
                if not screen.agrees("Send another code?"):
                    screen.note("No other code was sent.")
                    raise typer.Exit(exit_code(error)) from None
                last = None
                sent = _send(screen, otp, settings, number, message, yes=True)
                screen.note("✓ Accepted for sending.", "green")
            except OTPError as error:
                screen.failed(error, authentication_id=sent.authentication_id)
    screen.result({"verified": True, "xCorrelator": valid.x_correlator}, "✓ The number is verified.")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def sandbox(context: typer.Context) -> None:
    """Run a local operator with an inbox to look at; see `camara-otp sandbox --help`."""
    from camara_otp.sandbox.__main__ import main  # noqa: PLC0415  (needs another extra)

    raise typer.Exit(main(context.args, program="camara-otp sandbox"))


class _Lifetime(MemoryStore):
    """Learn how long a token lives, which a provider keeps to itself."""

    seconds: float | None = None

    def save(self, name: str, value: bytes, seconds: float) -> None:
        """Keep the lifetime along with the token."""
        if not name.endswith(":busy"):  # a sign of life
            self.seconds = seconds
        super().save(name, value, seconds)


@app.command()
def token(
    *,
    profile: Profile = None,
    token_file: TokenFile = None,
    token_stdin: TokenStdin = False,
    insecure_token: InsecureToken = None,
    as_json: AsJSON = False,
    verbose: Verbose = False,
) -> None:
    """Fetch an access token, or take the one that is set, and describe it without printing it."""
    screen = Screen(as_json=as_json, verbose=verbose)
    settings = _settings(screen, profile, token_file=token_file, token_stdin=token_stdin, insecure_token=insecure_token)
    lifetime = _Lifetime()
    try:
        if "client_id" in settings and "token" not in settings and "token_file" not in settings:
            fetched = provider(settings, store=lifetime)
            began = time.monotonic()
            with screen.waiting("Fetching a token"):
                text = fetched.get_token(rejected=None, timeout=30.0)
            how: dict[str, Any] = {
                "from": "client credentials",
                "fetchedInSeconds": round(time.monotonic() - began, 3),
                "expiresInSeconds": None if lifetime.seconds is None else round(lifetime.seconds),
            }
        else:
            text = StaticToken(str(token_source(settings))).get_token(rejected=None, timeout=0.0)
            how = {"from": settings["token" if "token" in settings else "token_file"].source}
    except KeyboardInterrupt:
        screen.stopped()
    except OTPError as error:
        screen.failed(error)
    described = {**how, **describe_token(text)}
    if as_json:
        screen.json(described)
        return
    table = Table(box=None, show_header=False)
    for name, value in described.items():
        table.add_row(plain(name), plain(value))
    screen.out.print(table)


# What a clock can show; a claim may hold any number.
_LAST_YEAR: Final = 253402300800


def describe_token(text: str) -> dict[str, Any]:
    """Return what can be said about a token without giving it away.

    Args:
        text: The token.
    """
    described: dict[str, Any] = {
        "kind": "opaque",
        "characters": len(text),
        "fingerprint": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12],
    }
    parts = text.split(".")
    if len(parts) != 3:
        return described
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(raw, parse_constant=str)
    except (ValueError, RecursionError):
        return described
    if not isinstance(claims, dict):
        return described
    known = cast("dict[str, Any]", claims)
    described["kind"] = "JWT"
    # The subject may be a telephone number.
    described |= {name: known[name] for name in ("iss", "aud", "client_id", "scope") if name in known}
    expiry = known.get("exp")
    if isinstance(expiry, int | float) and not isinstance(expiry, bool) and abs(expiry) < _LAST_YEAR:
        described["expiresInSeconds"] = round(expiry - time.time())
    return described


def _short(code: str) -> str:
    return code.removeprefix("ONE_TIME_PASSWORD_SMS.")


@app.command()
def errors(
    *,
    code: Annotated[
        str | None,
        typer.Argument(help="A code, the beginning of one, its class or its HTTP status.", autocompletion=_codes),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Show the error codes: what each means, and what to do."""
    screen = Screen(as_json=as_json)
    wanted = _named(code or "")
    if not wanted:
        screen.usage(f"{code}: there is no such code; `camara-otp errors` shows all")
    rows = [
        {"code": name, "class": kind.__name__, "status": _status(kind), "cause": kind.cause, "remedy": kind.remedy}
        for name, kind in CODES.items()
        if name in wanted
    ]
    if as_json:
        screen.json(rows)
        return
    table = Table(show_lines=False, pad_edge=False)
    for title in ("HTTP", "code", "when", "what to do"):
        table.add_column(title, overflow="fold", no_wrap=title == "code")
    for row in rows:
        table.add_row(*map(plain, (row["status"], _short(str(row["code"])), row["cause"], row["remedy"])))
    screen.out.print(table, soft_wrap=False)


def _named(text: str) -> list[str]:
    """Return the codes that a person means: one by its name or its class, else all of a status or a beginning."""
    short = _short(text.upper())
    exact = [name for name, kind in CODES.items() if short in (_short(name), kind.__name__.upper())]
    return exact or [
        name for name, kind in CODES.items() if _short(name).startswith(short) or str(_status(kind)) == text
    ]


def _status(kind: type[OTPError]) -> int:
    """Return the HTTP status that a code's class stands under."""
    family = next(base.__name__ for base in kind.__mro__ if base.__name__.startswith("HTTP"))
    return int(family.removeprefix("HTTP").removesuffix("Error"))


@app.command()
def config(
    *,
    profile: Profile = None,
    as_json: AsJSON = False,
) -> None:
    """Show every setting, where it comes from, and where it could be set; secrets are not shown."""
    screen = Screen(as_json=as_json)
    settings = _settings(screen, profile)
    path = profiles_file(environment())
    try:
        names = list(profiles(path))
    except ConfigurationError as error:
        screen.failed(error)
    rows = [_row(name, settings.get(name)) for name in KNOWN]
    if as_json:
        screen.json({"profilesFile": str(path), "profiles": names, "settings": rows})
        return
    table = Table(pad_edge=False)
    # A narrow window has no room for what each is, a narrower one none for the variables: the values come first.
    room = sum(screen.out.width >= width for width in _WIDTHS)
    titles = ("setting", "value", "from", "variable", "what it is")[: 3 + room]
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("setting", "variable"))
    for row in rows:
        made = (row["value"], row["source"]) if row["source"] else (row["default"], "default")
        value, source = ("", "") if made[0] is None else made
        shown = (row["setting"], value, source, row["variable"] or "", row["about"])
        table.add_row(*map(plain, shown[: len(titles)]))
    screen.out.print(table, soft_wrap=False)
    screen.out.print(plain(f"Profiles in {path}: {', '.join(names) or 'none'}"), soft_wrap=True)


_WIDTHS: Final = (80, 110)


def _row(name: str, made: Setting | None) -> dict[str, Any]:
    known = KNOWN[name]
    return {
        "setting": name,
        "value": None if made is None else _masked(name, made.value),
        "source": None if made is None else made.source,
        "default": known.default,
        "variable": known.variable,
        "about": known.about,
    }


def _masked(name: str, value: Any) -> Any:
    if not KNOWN[name].hidden:
        return shown_url(value) if isinstance(value, str) and "://" in value else value
    if isinstance(value, dict):
        return dict.fromkeys(cast("dict[str, Any]", value), "***")
    return "***"


app.command()(check)
