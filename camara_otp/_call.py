"""One logical call, shared by both clients: its attempts, the renewal of its token, its verdict and its record.

A client's run loop does the I/O: it fetches the token, sends the request, sleeps. Everything it does next is decided
here. Errors travel as values up to the public methods, which raise them in a frame that holds no secret.
"""

import inspect
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, Self, cast

import attrs

from camara_otp import _wire
from camara_otp._checks import seconds
from camara_otp._exchange import Failure, Outgoing, Response
from camara_otp._secret import Secret
from camara_otp._settings import ClientSettings
from camara_otp._wire import CallContext, OperationSpec, Request, T
from camara_otp.auth.providers import TokenProvider, TokenSource, provider_of
from camara_otp.errors import (
    CODES,
    SUPERSEDED,
    ConfigurationError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    TokenError,
)
from camara_otp.models import SendCodeRequest, SendCodeResponse, broken_limit, masked
from camara_otp.retry import NextAttempt, next_attempt

_logger: Final = logging.getLogger("camara_otp")


class Options:
    """The arguments of every call besides its request; None means the client's setting."""

    __slots__ = ("timeout", "token", "x_correlator")

    def __init__(self, x_correlator: str | None, token: TokenSource | None, timeout: float | None) -> None:
        self.x_correlator = x_correlator
        self.token = token
        self.timeout = timeout


class OTPCall(Generic[T]):
    """One logical call: its bytes, made once, and every decision about them."""

    __slots__ = ("_began", "_body", "_deadline", "_rejection", "_renewed", "_settings", "_spec", "context", "provider")

    def __init__(
        self,
        settings: ClientSettings,
        spec: OperationSpec[T],
        context: CallContext,
        request: Request,
        options: Options,
    ) -> None:
        """Check the arguments of the call and make its bytes; raise the error of one that is rejected."""
        self._settings = settings
        self._spec = spec
        self.context = context
        context.request = request
        context.x_correlator = _correlator(options.x_correlator, settings.x_correlator)
        self.provider: TokenProvider | None = settings.provider if options.token is None else provider_of(options.token)
        timeout = settings.timeout if options.timeout is None else seconds("timeout", options.timeout)
        self._deadline = time.monotonic() + timeout
        self._body = _wire.encode(request)
        self._began = 0.0
        self._renewed = False
        self._rejection: OTPError | None = None  # the 401 to raise if the renewed token is the same again

    @property
    def token(self) -> Secret | None:
        """Return the token of the last attempt."""
        return self.context.token

    @property
    def remaining(self) -> float:
        """Return the seconds left."""
        return self._deadline - time.monotonic()

    def begin(self, token: Secret | TokenError | None) -> OTPError | None:
        """Begin an attempt with this token; return the error that prevents it."""
        context = self.context
        if isinstance(token, TokenError):
            return context.attach(token)
        rejection, self._rejection = self._rejection, None
        if rejection is not None and token == context.token:
            return rejection
        self._began = time.monotonic()
        if self._began >= self._deadline:
            late = TokenError if context.attempts == 0 and token is not None else RequestNotSentError
            return context.attach(late("the time of the call was over before the request could be sent"))
        context.token = token
        context.attempts += 1
        return None

    def outgoing(self) -> Outgoing:
        """Return the request of the attempt that was begun."""
        settings, context = self._settings, self.context
        return Outgoing(
            "POST",
            settings.endpoint.target(self._spec.path),
            _wire.with_call_headers(settings.headers, context.token, context.x_correlator),
            self._body,
            self._deadline,
            None if settings.policy is None else settings.policy.connect_timeout,
        )

    def judge(self, outcome: Response | Failure) -> T | OTPError | NextAttempt:
        """Return the verdict on an attempt: the result, the error, or another attempt."""
        if isinstance(outcome, Failure):
            unknown = OutcomeUnknownError(outcome.reason)
            not_sent = RequestNotSentError(outcome.reason, permanent=outcome.permanent)
            result: T | OTPError = self.context.attach(unknown if outcome.sent else not_sent)
        else:
            result = self._spec.read(outcome, self.context, time.time())
        if _logger.isEnabledFor(logging.DEBUG):
            self._log(outcome, result)
        if not isinstance(result, OTPError):
            return result
        following = next_attempt(
            self._settings.policy,
            result,
            attempts=self.context.attempts,
            remaining=self.remaining,
            jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            may_renew=self.provider is not None and not self._renewed,
        )
        if following is None:
            return result
        if following.renew_token:
            self._renewed, self._rejection = True, result
        return following

    def _log(self, outcome: Response | Failure, result: object) -> None:
        context, request = self.context, self.context.request
        if isinstance(outcome, Failure):
            shown = type(result).__name__
        else:
            shown = " ".join(filter(None, ["HTTP", str(outcome.status), getattr(result, "code", None)]))
        _logger.debug(
            "%s %sattempt %d: %s in %.0f ms, x-correlator %s",
            context.operation,
            f"to {masked(request.phone_number)} " if isinstance(request, SendCodeRequest) else "",
            context.attempts,
            shown,
            (time.monotonic() - self._began) * 1000,
            context.x_correlator,
        )


def prepared_call(
    settings: ClientSettings, spec: OperationSpec[T], first: str | Request, second: str | None, options: Options
) -> OTPCall[T] | OTPError:
    """Return the call to make, or the error that prevents it; `first` is a whole request, or its first argument."""
    context = CallContext(spec.name)
    try:
        if isinstance(first, spec.request):
            if second is not None:
                raise RequestValidationError(spec.second, "is given in the request already; leave it out of the call")
            request = first
        elif second is None:
            raise RequestValidationError(spec.second, "is missing; give it as the second argument")
        else:
            request = spec.request(cast("str", first), second)  # it rejects any other type
        del first, second  # the call below may run code of the caller's, and be interrupted in it
        return OTPCall(settings, spec, context, request, options)
    except OTPError as error:
        return context.attach(error.with_traceback(None))


def _correlator(given: str | None, factory: Callable[[], str] | None) -> str | None:
    if given is None:
        if factory is None:
            return None
        try:
            given = factory()
        except Exception as error:
            raise ConfigurationError(
                f"x_correlator: the callable raised {type(error).__name__}; fix it, or pass x_correlator=None"
            ) from error
        if inspect.iscoroutine(given):
            given.close()
            raise ConfigurationError("x_correlator: the callable is asynchronous; give a plain one")
    rejected = broken_limit(x_correlator=given)
    if rejected is not None:
        raise rejected
    return given


# --- Reports ---------------------------------------------------------------------------------------------------------

OTHER: Final = "_OTHER"
"""Stands for an error code outside the contract, which an operator could choose freely."""


@attrs.frozen
class CallRecord:
    """The outcome of one call, without anything personal.

    Attributes:
        operation: `"send_code"` or `"validate_code"`
        seconds: duration: token, every attempt and every wait
        attempts: API requests begun; more than one if the first one cannot have arrived
        status: the HTTP status of the response, or None without one
        code: the operator's error code, `"_OTHER"` for one outside the contract, None without one
        error: the name of the exception's class, None if the call returned
        outcome_unknown: True if the operator may have acted although the call failed
        x_correlator: the correlator of the call, which identifies it in the operator's records
        server_address: the operator's host
        server_port: its port
    """

    operation: str
    seconds: float
    attempts: int
    status: int | None
    code: str | None
    error: str | None
    outcome_unknown: bool
    x_correlator: str | None
    server_address: str
    server_port: int

    @property
    def server(self) -> str:
        """Return the operator's host and port."""
        return f"{self.server_address}:{self.server_port}"


class CallObserver(Protocol):
    """An observer that is also called when a call starts, as tracing requires."""

    def call_started(self, operation: str, /) -> Callable[[CallRecord], object]:
        """Return the function to call after the call ended."""
        ...


OnCall = Callable[[CallRecord], object] | CallObserver
"""An observer of calls: a function that is called with the record of each call, or a `CallObserver`."""


def checked_observers(on_call: "OnCall | Sequence[OnCall] | None") -> list[OnCall]:
    """Return the observers of a client.

    Raises:
        ConfigurationError: one of them is neither callable nor a `CallObserver`, or is asynchronous
    """
    if on_call is None:
        return []
    given: list[OnCall] = [*on_call] if isinstance(on_call, list | tuple) else [cast("OnCall", on_call)]
    for observer in given:
        if not (callable(observer) or hasattr(observer, "call_started")) or inspect.iscoroutinefunction(observer):
            raise ConfigurationError("on_call: must be a plain function, or several, called with a CallRecord")
    return given


class Observation(Generic[T]):
    """One call that is observed. An exception of an observer is logged, and never reaches the caller.

    Attributes:
        result: the result of the call, set by the client
    """

    __slots__ = ("_began", "_ends", "_facts", "_server", "result")

    result: T | OTPError

    def __init__(self, observers: Sequence[OnCall], call: OTPCall[T] | OTPError, server: tuple[str, int]) -> None:
        self._facts = call if isinstance(call, OTPError) else call.context
        self._server = server
        self._ends = [self._start(observer) for observer in observers]
        self._began = time.monotonic()

    def _start(self, observer: OnCall) -> Callable[[CallRecord], object] | None:
        started = getattr(observer, "call_started", None)
        if started is None:
            return cast("Callable[[CallRecord], object]", observer)
        end: Callable[[CallRecord], object] | None = _guarded(started, self._facts.operation)
        return end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End the observers in reverse order of their start."""
        record = self._record(self.result if error is None else error)
        for end in reversed(self._ends):
            if end is not None:
                _guarded(end, record)

    def _record(self, result: object) -> CallRecord:
        facts = self._facts
        failed = isinstance(result, BaseException)
        known = result if isinstance(result, OTPError) else None
        code = getattr(known, "code", None)
        success = 200 if isinstance(result, SendCodeResponse) else 204
        return CallRecord(
            operation=str(facts.operation),
            seconds=time.monotonic() - self._began,
            attempts=facts.attempts,
            status=getattr(known, "status", None) if failed else success,
            code=code if code is None or code in CODES or code in SUPERSEDED else OTHER,
            error=type(result).__name__ if failed else None,
            # A call that was interrupted after its request began may have reached the operator.
            outcome_unknown=failed and facts.attempts > 0 if known is None else known.outcome_unknown,
            x_correlator=getattr(result, "x_correlator", facts.x_correlator),
            server_address=self._server[0],
            server_port=self._server[1],
        )


def _guarded(function: Callable[[Any], Any], argument: object) -> Any:
    try:
        return function(argument)
    except Exception as error:  # noqa: BLE001 - an error of an observer must not change the call
        _logger.warning("an observer of calls raised %s; the call continued without it", type(error).__name__)
        return None
