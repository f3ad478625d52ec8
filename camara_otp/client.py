"""OTPClient and AsyncOTPClient: two thin shells around one call.

What is decided is decided elsewhere (`models`, `_wire`, `retry`) or in `_Call`, which both shells share. A shell
fetches the token, hands the bytes to the exchange, sleeps, closes, and differs from its twin in `await` alone.

Errors travel as values up to the public methods, which raise them: the traceback that a user sees ends there, in a
frame that has let go of the number, the code and the token.
"""

import inspect
import logging
import os
import random
import time
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, NoReturn, Self, TypeVar, overload

import anyio
import attrs

from camara_otp import _wire
from camara_otp._endpoint import Endpoint, Params, endpoint, static_headers
from camara_otp._exchange import Answer, Failure, Outgoing, open_async_exchange, open_exchange
from camara_otp._tokens import TokenProvider, TokenSource, afetch, fetch, provider_of
from camara_otp._version import __version__
from camara_otp.errors import (
    ConfigurationError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    TokenError,
)
from camara_otp.models import (
    SendCodeRequest,
    SendCodeResponse,
    ValidateCodeRequest,
    ValidateCodeResponse,
    masked,
    x_correlator_problem,
)
from camara_otp.retry import RetryPolicy, is_count, is_seconds, wait_before_repeat, wants_new_token

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client

T = TypeVar("T")
Request = SendCodeRequest | ValidateCodeRequest

_logger: Final = logging.getLogger("camara_otp")


class Environment(Enum):
    """Stand for an argument that was left out, and is read from the environment."""

    TOKEN = "CAMARA_BEARER_TOKEN"  # noqa: S105 - the name of a variable


DEFAULT_API_PATH: Final = "/otpvalidation"
DEFAULT_RETRY: Final = RetryPolicy()


def new_x_correlator() -> str:
    """Return a fresh x-correlator: UUID4 text, which every release of the API accepts."""
    # As uuid.uuid4 does (RFC 9562 section 5.4), at a third of its cost: this runs once in every call.
    bits = bytearray(os.urandom(16))
    bits[6] = bits[6] & 0x0F | 0x40
    bits[8] = bits[8] & 0x3F | 0x80
    text = bits.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Repeat(NamedTuple):
    """What `_Call.judge` asks of the shell: wait, perhaps fetch another token, and go round again."""

    wait: float = 0.0
    renewer: TokenProvider | None = None


# Without a repr: a traceback that shows locals, of an interrupted call, would print the token and the body.
@attrs.define(repr=False)
class _Call(Generic[T]):
    """One logical call: its bytes, made once, and every decision about them."""

    operation: _wire.Operation
    request: Request
    read: _wire.Reader[T]
    target: str
    static_headers: tuple[tuple[bytes, bytes], ...]
    x_correlator: str | None
    provider: TokenProvider | None
    policy: RetryPolicy | None
    deadline: float
    body: bytes
    attempts: int = 0
    token: str | None = None
    renewed: bool = False
    rejection: OTPError | None = None  # the 401 to raise when the token that is being fetched is the same again
    began: float = 0.0

    @property
    def remaining(self) -> float:
        """Return the seconds left."""
        return self.deadline - time.monotonic()

    def begin(self, token: str | TokenError | None) -> OTPError | None:
        """Begin an attempt with this token; return what stops it."""
        if isinstance(token, TokenError):
            return self.failed(token)
        rejection, self.rejection = self.rejection, None
        if rejection is not None and token == self.token:
            return rejection
        self.began = time.monotonic()
        if self.began >= self.deadline:
            late = TokenError if self.attempts == 0 and token is not None else RequestNotSentError
            return self.failed(late("the time of the call was over before the request could be sent"))
        self.token = token
        self.attempts += 1
        return None

    def outgoing(self) -> Outgoing:
        """Return the request of the attempt that was begun."""
        return Outgoing(
            "POST",
            self.target,
            _wire.with_call_headers(self.static_headers, self.token, self.x_correlator),
            self.body,
            self.deadline,
            None if self.policy is None else self.policy.connect_timeout,
        )

    def judge(self, outcome: Answer | Failure) -> T | OTPError | _Repeat:
        """Return what the attempt came to: the result, the error, or one more round."""
        if isinstance(outcome, Failure):
            error = _transport_error(outcome)
        else:
            result = self.read(
                *outcome,
                sent=self.x_correlator,
                secrets=_wire.secrets_of(self.request, self.token),
                now=time.time(),
            )
            if not isinstance(result, OTPError):
                self._log(outcome, None)
                return result
            error = result
        self._log(outcome, error)
        self.failed(error)
        if wants_new_token(error):
            if self.provider is None or self.renewed or self.remaining <= 0:
                return error
            self.renewed, self.rejection = True, error
            return _Repeat(renewer=self.provider)
        wait = wait_before_repeat(
            self.policy,
            error,
            attempts=self.attempts,
            remaining=self.remaining,
            jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        return error if wait is None else _Repeat(wait)

    def failed(self, error: OTPError) -> OTPError:
        """Return the error with what is known about the call."""
        error.operation = self.operation.name
        error.attempts = self.attempts
        if error.x_correlator is None:
            error.x_correlator = self.x_correlator
        return error

    def _log(self, outcome: Answer | Failure, error: OTPError | None) -> None:
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        request = self.request
        _logger.debug(
            "%s %sattempt %d: %s in %.0f ms, x-correlator %s",
            self.operation.name,
            f"to {masked(request.phone_number)} " if isinstance(request, SendCodeRequest) else "",
            self.attempts,
            _outcome_text(outcome, error),
            (time.monotonic() - self.began) * 1000,
            self.x_correlator,
        )


def _outcome_text(outcome: Answer | Failure, error: OTPError | None) -> str:
    if isinstance(outcome, Failure):
        return type(error).__name__
    code = getattr(error, "code", None)
    return f"HTTP {outcome.status} {code}" if code else f"HTTP {outcome.status}"


def _transport_error(failure: Failure) -> OTPError:
    if failure.sent:
        return OutcomeUnknownError(failure.reason)
    return RequestNotSentError(failure.reason, permanent=failure.permanent)


@attrs.frozen(repr=False)
class _Setup:
    """What both clients know, checked when they are made."""

    endpoint: Endpoint
    headers: tuple[tuple[bytes, bytes], ...]
    provider: TokenProvider | None
    policy: RetryPolicy | None
    timeout: float
    x_correlator: Callable[[], str] | None
    targets: Mapping[_wire.Operation, str]

    def send_code(
        self, phone_number: str | SendCodeRequest, message: str | None, options: "_Options"
    ) -> _Call[SendCodeResponse] | OTPError:
        """Return the call to make, or what forbids it."""
        try:
            if isinstance(phone_number, SendCodeRequest):
                request = _alone(phone_number, message, "message")
            else:
                request = SendCodeRequest(phone_number, _present(message, "message"))
            return self._call(_wire.SEND_CODE, request, _wire.read_send_code, options)
        except OTPError as error:
            return _before_the_call(error, _wire.SEND_CODE)

    def validate_code(
        self, authentication_id: str | ValidateCodeRequest, code: str | None, options: "_Options"
    ) -> _Call[ValidateCodeResponse] | OTPError:
        """Return the call to make, or what forbids it."""
        try:
            if isinstance(authentication_id, ValidateCodeRequest):
                request = _alone(authentication_id, code, "code")
            else:
                request = ValidateCodeRequest(authentication_id, _present(code, "code"))
            return self._call(_wire.VALIDATE_CODE, request, _wire.read_validate_code, options)
        except OTPError as error:
            return _before_the_call(error, _wire.VALIDATE_CODE)

    def _call(
        self, operation: _wire.Operation, request: Request, read: _wire.Reader[T], options: "_Options"
    ) -> _Call[T]:
        return _Call(
            operation=operation,
            request=request,
            read=read,
            target=self.targets[operation],
            static_headers=self.headers,
            x_correlator=_correlator(options.x_correlator, self.x_correlator),
            provider=self.provider if options.token is None else provider_of(options.token),
            policy=self.policy,
            deadline=time.monotonic() + (self.timeout if options.timeout is None else _seconds(options.timeout)),
            body=_wire.encode(request),
        )


class _Options(NamedTuple):
    """What every call takes besides its request; None stands for the client's setting."""

    x_correlator: str | None
    token: TokenSource | None
    timeout: float | None

    def __repr__(self) -> str:
        """Return a text without the token."""
        return "_Options(***)"


def _alone(request: T, other: object, field: str) -> T:
    if other is not None:
        raise RequestValidationError(field, "stands in the request already; leave it out of the call")
    return request


def _present(value: str | None, field: str) -> str:
    if value is None:
        raise RequestValidationError(field, "is missing; give it as the second argument")
    return value


def _before_the_call(error: OTPError, operation: _wire.Operation) -> OTPError:
    error.operation = operation.name
    return error.with_traceback(None)


def _correlator(given: str | None, factory: Callable[[], str] | None) -> str | None:
    if given is None:
        if factory is None:
            return None
        if factory is new_x_correlator:
            return factory()
        try:
            given = factory()
        except Exception as error:
            raise ConfigurationError(f"x_correlator: the callable raised {type(error).__name__}") from error
        if inspect.iscoroutine(given):
            given.close()
            raise ConfigurationError("x_correlator: the callable is asynchronous; give a plain one")
    problem = x_correlator_problem(given)
    if problem is not None:
        raise RequestValidationError(*problem)
    return given


_LONGEST: Final = 1e8  # more than three years: sockets and locks take no number of any size


def _seconds(timeout: object) -> float:
    if not is_seconds(timeout):
        raise ConfigurationError("timeout: must be a finite number of seconds above 0")
    return min(float(timeout), _LONGEST)  # type: ignore[arg-type]


def _setup(
    base_url: str | None,
    *,
    token: TokenSource | Environment | None,
    api_path: str | None,
    timeout: float,
    retry: RetryPolicy | None,
    x_correlator: Callable[[], str] | None,
    headers: Mapping[str, str] | None,
    params: Params | None,
    max_response_bytes: int,
    allow_http: bool,
    has_http_client: bool,
) -> _Setup:
    """Check the arguments of a constructor, in the order in which they stand."""
    root = base_url if base_url is not None else os.environ.get("CAMARA_BASE_URL")
    if not root:
        raise ConfigurationError("base_url: is missing; give the operator's API root or set CAMARA_BASE_URL")
    between = api_path if api_path is not None else os.environ.get("CAMARA_API_PATH", DEFAULT_API_PATH)
    place = endpoint(root, between, params, allow_http=allow_http)
    if place.shows_token:
        warnings.warn("allow_http=True: the token travels over plain http", stacklevel=3)
    if not _is(retry, RetryPolicy | None):
        raise ConfigurationError("retry: must be a RetryPolicy, or None to repeat nothing")
    if x_correlator is not None and not callable(x_correlator):
        raise ConfigurationError("x_correlator: must be a callable here, or None; give a value with each call")
    if not is_count(max_response_bytes):
        raise ConfigurationError("max_response_bytes: must be a whole number of at least 1")
    return _Setup(
        endpoint=place,
        headers=static_headers(
            headers,
            {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": f"camara-otp/{__version__}",
            },
        ),
        provider=_provider(token, has_http_client=has_http_client),
        policy=retry,
        timeout=_seconds(timeout),
        x_correlator=x_correlator,
        targets={operation: place.target(operation.path) for operation in (_wire.SEND_CODE, _wire.VALIDATE_CODE)},
    )


def _is(value: object, kind: type | UnionType) -> bool:
    # For what the annotations rule out, and a caller without a type checker does all the same.
    return isinstance(value, kind)


def _provider(token: TokenSource | Environment | None, *, has_http_client: bool) -> TokenProvider | None:
    if token is None:
        if has_http_client:
            return None
        raise ConfigurationError("token: None leaves authorization to `http_client`, which was not given")
    if isinstance(token, Environment):
        text = os.environ.get(token.value)
        if not text:
            raise ConfigurationError(f"token: is missing; give a text, a callable or a provider, or set {token.value}")
        return provider_of(text)
    return provider_of(token)


def _place(client: object) -> str:
    # A debugger may ask for the repr of a client that refused its arguments.
    setup: _Setup | None = getattr(client, "_setup", None)
    return "never set up" if setup is None else f"{setup.endpoint.origin}{setup.endpoint.path}"


def _closed(kind: str) -> ConfigurationError:
    return ConfigurationError(f"this {kind} is closed; make a new one")


def _not_copied(kind: str) -> NoReturn:
    raise TypeError(f"{kind} holds connections and a token and cannot be copied or pickled; make one per process")


class OTPClient:
    """Send one-time codes by SMS and check them, synchronously.

    Make one and share it between threads; close it, or use it in a `with` block.

    Args:
        base_url: the operator's API root, `https://host[:port][/path]`. Left out: the environment's CAMARA_BASE_URL.
        token: the bearer token: text, a callable that returns it, or a `TokenProvider`. Left out: the environment's
            CAMARA_BEARER_TOKEN. None: no Authorization of ours; needs `http_client`, whose own auth then applies.
        api_path: the path between root and operation. Left out: the environment's CAMARA_API_PATH, else
            `/otpvalidation`. Operators on CAMARA's published layout use `/one-time-password-sms/v1`.
        timeout: seconds for one call in all: token, name resolution, every attempt and wait, reading the answer.
            Finite and above 0. A plain token callable is not interrupted, only checked when it returns.
        retry: when to repeat a request that never reached the operator; None never repeats anything but a 401 with
            a renewed token.
        x_correlator: a callable that gives each call its correlator (default: UUID4 text); None sends none.
        headers: extra headers of every request, visible ASCII.
        params: extra query parameters of every request.
        max_response_bytes: cap on the decoded body of an answer.
        allow_http: True lets the token travel over plain http to a host that is not loopback; warns.
        http_client: an `httpx.Client`, or `httpx2.Client`, of yours (proxy, mTLS, own CA, HTTP/2, hooks). It is used as
            it is and never closed. The hard deadline and the check for left-over bytes hold for the default transport
            only.

    Raises:
        ConfigurationError: an argument is refused; the message names it and the remedy.

    Source: CAMARA One Time Password SMS 1.1.1.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: TokenSource | Environment | None = Environment.TOKEN,
        api_path: str | None = None,
        timeout: float = 10.0,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        x_correlator: Callable[[], str] | None = new_x_correlator,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        max_response_bytes: int = 65_536,
        allow_http: bool = False,
        http_client: "Client | None" = None,
    ) -> None:
        """Check every argument; nothing is sent yet."""
        try:
            self._setup = _setup(
                base_url,
                token=token,
                api_path=api_path,
                timeout=timeout,
                retry=retry,
                x_correlator=x_correlator,
                headers=headers,
                params=params,
                max_response_bytes=max_response_bytes,
                allow_http=allow_http,
                has_http_client=http_client is not None,
            )
        except ConfigurationError as error:
            # What is raised here has let go of every secret, as in a call.
            del token, headers, params
            raise error.with_traceback(None)  # noqa: B904 - it is the same error
        self._exchange = open_exchange(
            self._setup.endpoint.origin, max_response_bytes=max_response_bytes, http_client=http_client
        )

    @overload
    def send_code(
        self,
        phone_number: str,
        message: str,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse: ...
    @overload
    def send_code(
        self,
        phone_number: SendCodeRequest,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse: ...
    def send_code(
        self,
        phone_number: str | SendCodeRequest,
        message: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse:
        """Have the operator text a fresh code to a phone.

        The operator makes the code and puts it in place of `{{code}}`. Each call that reaches the operator texts and
        bills a person and ends the code sent before; it is never repeated by itself once it may have arrived.

        Args:
            phone_number: E.164 with its +, 5 to 15 digits, as in `+346661113334`; or a whole `SendCodeRequest`.
            message: at most 160 characters, with the label `{{code}}` where the code goes.
            x_correlator: this call's correlator, 1 to 256 characters out of `a-z A-Z 0-9 - _ : ; . / < > { }`.
            token: this call's token, as text, callable or provider; text is never renewed.
            timeout: seconds for this call.

        Returns:
            The authentication_id to give to `validate_code`. It does not say that the text has arrived.

        Raises:
            RequestValidationError: an argument breaks a limit; mend it. Nothing was sent.
            ConfigurationError: the client is closed, or `timeout` or `token` cannot be used. Nothing was sent.
            TokenError: no token could be had; see its text. Nothing was sent.
            RequestNotSentError: the operator cannot have seen it; calling again is safe.
            MaxOTPCodesExceededError: too many codes for this number; wait long.
            PhoneNumberNotAllowedError: the number cannot receive the text; offer another way.
            PhoneNumberBlockedError: texts to the number are barred; offer another way.
            OutcomeUnknownError: no whole answer came; ask the person whether a text arrived before sending again.
            UnexpectedResponseError: an answer outside the contract; check `base_url` and `api_path`.
            APIError: any other refusal; branch on its class, and read `.outcome_unknown` before sending again.

        Source: CAMARA One Time Password SMS 1.1.1, sendCode.
        """
        try:
            result = self._run(self._setup.send_code(phone_number, message, _Options(x_correlator, token, timeout)))
        finally:
            del phone_number, message, token
        if isinstance(result, OTPError):
            raise result
        return result

    @overload
    def validate_code(
        self,
        authentication_id: str,
        code: str,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse: ...
    @overload
    def validate_code(
        self,
        authentication_id: ValidateCodeRequest,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse: ...
    def validate_code(
        self,
        authentication_id: str | ValidateCodeRequest,
        code: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse:
        """Check the code that a person typed; returning means that the number is verified.

        Only HTTP 204 returns. Every other answer, and every failure, raises.

        Args:
            authentication_id: what `send_code` returned, unchanged, 1 to 36 characters; or a whole
                `ValidateCodeRequest`.
            code: what the person typed, as text, 1 to 10 characters; case and leading zeros count.
            x_correlator: this call's correlator, 1 to 256 characters out of `a-z A-Z 0-9 - _ : ; . / < > { }`.
            token: this call's token, as text, callable or provider; text is never renewed.
            timeout: seconds for this call.

        Returns:
            The x-correlator, for your records.

        Raises:
            RequestValidationError: an argument breaks a limit; mend it. Nothing was sent.
            ConfigurationError: the client is closed, or `timeout` or `token` cannot be used. Nothing was sent.
            TokenError: no token could be had; see its text. Nothing was sent.
            InvalidOTPError: the code is wrong, attempts are left; ask the person to type it again.
            VerificationExpiredError: too old, superseded or already used; start again with `send_code`.
            VerificationFailedError: the attempts are used up; start again with `send_code`.
            NotFoundError: the authentication_id was never issued; start again with `send_code`.
            RequestNotSentError: the operator cannot have seen it; calling again is safe.
            OutcomeUnknownError: no whole answer came; the attempt may be spent. Start again with `send_code`.
            UnexpectedResponseError: an answer outside the contract, never a verified number.
            APIError: any other refusal; branch on its class.

        Source: CAMARA One Time Password SMS 1.1.1, validateCode.
        """
        try:
            result = self._run(
                self._setup.validate_code(authentication_id, code, _Options(x_correlator, token, timeout))
            )
        finally:
            del authentication_id, code, token
        if isinstance(result, OTPError):
            raise result
        return result

    def _run(self, call: _Call[T] | OTPError) -> T | OTPError:
        if isinstance(call, OTPError):
            return call
        if self._exchange.closed:
            return call.failed(_closed("OTPClient"))
        provider = call.provider
        stopped = call.begin(fetch(provider, None, call.remaining) if provider else None)
        while stopped is None:
            outcome = self._exchange.request(call.outgoing())
            verdict = call.judge(outcome)
            if not isinstance(verdict, _Repeat):
                return verdict
            if verdict.wait:
                time.sleep(verdict.wait)
            renewer = verdict.renewer
            stopped = call.begin(fetch(renewer, call.token, call.remaining) if renewer else call.token)
        return stopped

    def close(self) -> None:
        """Close the connections; calls after this raise ConfigurationError. An `http_client` of yours stays open."""
        self._exchange.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def __repr__(self) -> str:
        """Return the endpoint alone."""
        return f"OTPClient({_place(self)})"

    def __reduce__(self) -> NoReturn:
        """Refuse: connections and tokens belong to one process."""
        _not_copied("OTPClient")


class AsyncOTPClient:
    """Send one-time codes by SMS and check them, asynchronously, on asyncio and trio.

    Make one and share it between tasks; close it, or use it in an `async with` block.

    Args:
        base_url: the operator's API root, `https://host[:port][/path]`. Left out: the environment's CAMARA_BASE_URL.
        token: the bearer token: text, a callable that returns it or an awaitable of it, or a
            `TokenProvider`. Left out: the environment's
            CAMARA_BEARER_TOKEN. None: no Authorization of ours; needs `http_client`, whose own auth then applies.
        api_path: the path between root and operation. Left out: the environment's CAMARA_API_PATH, else
            `/otpvalidation`. Operators on CAMARA's published layout use `/one-time-password-sms/v1`.
        timeout: seconds for one call in all: token, name resolution, every attempt and wait, reading the answer.
            Finite and above 0. A plain token callable is not interrupted, only checked when it returns.
        retry: when to repeat a request that never reached the operator; None never repeats anything but a 401 with
            a renewed token.
        x_correlator: a callable that gives each call its correlator (default: UUID4 text); None sends none.
        headers: extra headers of every request, visible ASCII.
        params: extra query parameters of every request.
        max_response_bytes: cap on the decoded body of an answer.
        allow_http: True lets the token travel over plain http to a host that is not loopback; warns.
        http_client: an `httpx.AsyncClient`, or `httpx2.AsyncClient`, of yours (proxy, mTLS, own CA, HTTP/2, hooks). It
            is used as it is and never closed. The hard deadline and the check for left-over bytes hold for the default
            transport only.

    Raises:
        ConfigurationError: an argument is refused; the message names it and the remedy.

    Source: CAMARA One Time Password SMS 1.1.1.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: TokenSource | Environment | None = Environment.TOKEN,
        api_path: str | None = None,
        timeout: float = 10.0,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        x_correlator: Callable[[], str] | None = new_x_correlator,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        max_response_bytes: int = 65_536,
        allow_http: bool = False,
        http_client: "AsyncClient | None" = None,
    ) -> None:
        """Check every argument; nothing is sent yet."""
        try:
            self._setup = _setup(
                base_url,
                token=token,
                api_path=api_path,
                timeout=timeout,
                retry=retry,
                x_correlator=x_correlator,
                headers=headers,
                params=params,
                max_response_bytes=max_response_bytes,
                allow_http=allow_http,
                has_http_client=http_client is not None,
            )
        except ConfigurationError as error:
            # What is raised here has let go of every secret, as in a call.
            del token, headers, params
            raise error.with_traceback(None)  # noqa: B904 - it is the same error
        self._exchange = open_async_exchange(
            self._setup.endpoint.origin, max_response_bytes=max_response_bytes, http_client=http_client
        )

    @overload
    async def send_code(
        self,
        phone_number: str,
        message: str,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse: ...
    @overload
    async def send_code(
        self,
        phone_number: SendCodeRequest,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse: ...
    async def send_code(
        self,
        phone_number: str | SendCodeRequest,
        message: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse:
        """Have the operator text a fresh code to a phone.

        The operator makes the code and puts it in place of `{{code}}`. Each call that reaches the operator texts and
        bills a person and ends the code sent before; it is never repeated by itself once it may have arrived.

        Args:
            phone_number: E.164 with its +, 5 to 15 digits, as in `+346661113334`; or a whole `SendCodeRequest`.
            message: at most 160 characters, with the label `{{code}}` where the code goes.
            x_correlator: this call's correlator, 1 to 256 characters out of `a-z A-Z 0-9 - _ : ; . / < > { }`.
            token: this call's token, as text, callable or provider; text is never renewed.
            timeout: seconds for this call.

        Returns:
            The authentication_id to give to `validate_code`. It does not say that the text has arrived.

        Raises:
            RequestValidationError: an argument breaks a limit; mend it. Nothing was sent.
            ConfigurationError: the client is closed, or `timeout` or `token` cannot be used. Nothing was sent.
            TokenError: no token could be had; see its text. Nothing was sent.
            RequestNotSentError: the operator cannot have seen it; calling again is safe.
            MaxOTPCodesExceededError: too many codes for this number; wait long.
            PhoneNumberNotAllowedError: the number cannot receive the text; offer another way.
            PhoneNumberBlockedError: texts to the number are barred; offer another way.
            OutcomeUnknownError: no whole answer came; ask the person whether a text arrived before sending again.
            UnexpectedResponseError: an answer outside the contract; check `base_url` and `api_path`.
            APIError: any other refusal; branch on its class, and read `.outcome_unknown` before sending again.

        Source: CAMARA One Time Password SMS 1.1.1, sendCode.
        """
        try:
            result = await self._run(
                self._setup.send_code(phone_number, message, _Options(x_correlator, token, timeout))
            )
        finally:
            del phone_number, message, token
        if isinstance(result, OTPError):
            raise result
        return result

    @overload
    async def validate_code(
        self,
        authentication_id: str,
        code: str,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse: ...
    @overload
    async def validate_code(
        self,
        authentication_id: ValidateCodeRequest,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse: ...
    async def validate_code(
        self,
        authentication_id: str | ValidateCodeRequest,
        code: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse:
        """Check the code that a person typed; returning means that the number is verified.

        Only HTTP 204 returns. Every other answer, and every failure, raises.

        Args:
            authentication_id: what `send_code` returned, unchanged, 1 to 36 characters; or a whole
                `ValidateCodeRequest`.
            code: what the person typed, as text, 1 to 10 characters; case and leading zeros count.
            x_correlator: this call's correlator, 1 to 256 characters out of `a-z A-Z 0-9 - _ : ; . / < > { }`.
            token: this call's token, as text, callable or provider; text is never renewed.
            timeout: seconds for this call.

        Returns:
            The x-correlator, for your records.

        Raises:
            RequestValidationError: an argument breaks a limit; mend it. Nothing was sent.
            ConfigurationError: the client is closed, or `timeout` or `token` cannot be used. Nothing was sent.
            TokenError: no token could be had; see its text. Nothing was sent.
            InvalidOTPError: the code is wrong, attempts are left; ask the person to type it again.
            VerificationExpiredError: too old, superseded or already used; start again with `send_code`.
            VerificationFailedError: the attempts are used up; start again with `send_code`.
            NotFoundError: the authentication_id was never issued; start again with `send_code`.
            RequestNotSentError: the operator cannot have seen it; calling again is safe.
            OutcomeUnknownError: no whole answer came; the attempt may be spent. Start again with `send_code`.
            UnexpectedResponseError: an answer outside the contract, never a verified number.
            APIError: any other refusal; branch on its class.

        Source: CAMARA One Time Password SMS 1.1.1, validateCode.
        """
        try:
            result = await self._run(
                self._setup.validate_code(authentication_id, code, _Options(x_correlator, token, timeout))
            )
        finally:
            del authentication_id, code, token
        if isinstance(result, OTPError):
            raise result
        return result

    async def _run(self, call: _Call[T] | OTPError) -> T | OTPError:
        if isinstance(call, OTPError):
            return call
        if self._exchange.closed:
            return call.failed(_closed("AsyncOTPClient"))
        provider = call.provider
        stopped = call.begin(await afetch(provider, None, call.remaining) if provider else None)
        while stopped is None:
            outcome = await self._exchange.request(call.outgoing())
            verdict = call.judge(outcome)
            if not isinstance(verdict, _Repeat):
                return verdict
            if verdict.wait:
                await anyio.sleep(verdict.wait)
            renewer = verdict.renewer
            stopped = call.begin(await afetch(renewer, call.token, call.remaining) if renewer else call.token)
        return stopped

    async def aclose(self) -> None:
        """Close the connections; calls after this raise ConfigurationError. An `http_client` of yours stays open."""
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    def __repr__(self) -> str:
        """Return the endpoint alone."""
        return f"AsyncOTPClient({_place(self)})"

    def __reduce__(self) -> NoReturn:
        """Refuse: connections and tokens belong to one process."""
        _not_copied("AsyncOTPClient")
