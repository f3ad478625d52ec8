"""OTPClient and AsyncOTPClient: the public methods and the two run loops.

Decisions live in `models`, `_wire`, `retry` and `_call`. A client fetches the token, hands the request to the exchange,
sleeps and closes; the two classes differ only in `await`.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, overload

import anyio

from camara_otp._call import Observation, OnCall, Options, OTPCall, checked_observers, prepared_call
from camara_otp._exchange import open_exchange
from camara_otp._secret import forget_variables
from camara_otp._settings import (
    DEFAULT_RETRY,
    DEFAULT_TIMEOUT,
    ClientSettings,
    Environment,
    Params,
    new_x_correlator,
)
from camara_otp._wire import SEND_CODE, VALIDATE_CODE
from camara_otp.auth.providers import TokenSource, atoken_from, token_from
from camara_otp.errors import ConfigurationError, OTPError
from camara_otp.models import SendCodeRequest, SendCodeResponse, ValidateCodeRequest, ValidateCodeResponse
from camara_otp.retry import NextAttempt, RetryPolicy

if TYPE_CHECKING:
    from camara_otp._exchange.clients import AsyncClient, Client

T = TypeVar("T")
HTTPClient = TypeVar("HTTPClient", bound="Client | AsyncClient")


class _Client(Generic[HTTPClient]):
    """The constructor of both clients, and the description of their methods."""

    _http_client_kind: ClassVar[str]

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: TokenSource | Environment | None = Environment.TOKEN,
        api_path: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        x_correlator: Callable[[], str] | None = new_x_correlator,
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        max_response_bytes: int = 65_536,
        allow_http: bool = False,
        http_client: HTTPClient | None = None,
        on_call: OnCall | Sequence[OnCall] | None = None,
    ) -> None:
        """Check every argument; nothing is sent yet.

        Args:
            base_url: the operator's API root, `https://host[:port][/path]`. Left out: the environment's
                CAMARA_BASE_URL.
            token: the bearer token as a string, a callable that returns it, or a `TokenProvider`. For
                `AsyncOTPClient` the callable may return an awaitable. Left out: the environment's
                CAMARA_BEARER_TOKEN. None: needs `http_client`, whose auth applies; the client adds no Authorization.
            api_path: the path between root and operation. Left out: the environment's CAMARA_API_PATH, else
                `/otpvalidation`. Operators on CAMARA's published layout use `/one-time-password-sms/v1`.
            timeout: seconds for one call in all: token, name resolution, every attempt and wait, reading the response.
                Finite and above 0. A plain token callable is not interrupted, only checked when it returns.
            retry: when to repeat a request that never reached the operator; None never repeats anything but a 401 with
                a renewed token
            x_correlator: a callable that returns the correlator of each call (default: a UUID4); None sends none
            headers: extra headers of every request, visible ASCII
            params: extra query parameters of every request
            max_response_bytes: cap on the decoded body of a response
            allow_http: True lets the token travel over plain http to a host that is not loopback; warns
            http_client: a client of yours (mTLS, private CA, HTTP/2, hooks): `httpx.Client` or `httpx2.Client`, for
                `AsyncOTPClient` their `AsyncClient`. It is used as it is and never closed. A response that a server
                sends without a request can then be taken for the next one; and a server that sends its headers byte by
                byte can hold a call of `OTPClient` past its `timeout`.
            on_call: a function, or several, called with a `CallRecord` after each call, in the caller's thread or task:
                return at once. Its exceptions are logged and change nothing. The list `client.on_call` holds them; add
                to it or remove from it at any time.

        Raises:
            ConfigurationError: an argument is rejected; the message names it and the remedy

        Source: CAMARA One Time Password SMS 1.1.1.
        """
        try:
            self._settings = ClientSettings(
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
                http_client=http_client,
            )
            self.on_call: list[OnCall] = checked_observers(on_call)
            self._exchange = open_exchange(
                self._settings.endpoint.origin,
                max_response_bytes=max_response_bytes,
                kind=self._http_client_kind,
                http_client=http_client,
            )
        except (ConfigurationError, UserWarning) as error:
            raise error.with_traceback(None)  # noqa: B904 - it is the same error
        finally:
            del base_url, token, headers, params  # a traceback with locals would show them

    @classmethod
    def from_env(cls, profile: str | None = None) -> Self:
        """Return a client with the settings that the command line reads: environment, profiles, client credentials.

        Args:
            profile: the profile to use, by its name in the file of profiles; by default CAMARA_PROFILE's

        Raises:
            ConfigurationError: a setting is missing or wrong; the message names it and the remedy
        """
        from camara_otp._environment import client_arguments  # noqa: PLC0415 - not every process reads profiles

        return cls(**client_arguments(os.environ, profile))

    def send_code(self, *args: Any, **options: Any) -> Any:  # noqa: D417 - the arguments of both clients
        """Send a new code to a phone by SMS.

        The operator creates the code and puts it in place of `{{code}}`. Each call that reaches the operator
        sends an SMS, costs money, and invalidates the code before it. A request that may have arrived is not repeated.

        Args:
            phone_number: E.164 with its +, 5 to 15 digits, as in `+346661113334`; or a whole `SendCodeRequest`
            message: at most 160 characters, with the label `{{code}}` where the code goes
            x_correlator: this call's correlator, 1 to 256 characters out of `a-z A-Z 0-9 - _ : ; . / < > { }`
            token: this call's token, as a string, callable or provider; a string is never renewed
            timeout: seconds for this call

        Returns:
            the authentication_id for `validate_code`. It does not mean that the SMS has arrived.

        Raises:
            RequestValidationError: an argument breaks a limit; fix it. Nothing was sent.
            ConfigurationError: the client is closed, or `timeout` or `token` cannot be used. Nothing was sent.
            TokenError: no token could be obtained; see the message. The operator processed nothing: at most one request
                arrived, and was refused with 401.
            RequestNotSentError: the operator cannot have received the request; calling again is safe
            MaxOTPCodesExceededError: too many codes were sent to this number; offer another way
            PhoneNumberNotAllowedError: the number cannot receive the SMS; offer another way
            PhoneNumberBlockedError: SMS to the number are blocked; offer another way
            OutcomeUnknownError: no complete response came; ask the user whether an SMS arrived before sending again
            UnexpectedResponseError: a response outside the contract; check `base_url` and `api_path`
            APIError: any other refusal; branch on its class, and read `.outcome_unknown` before sending again

        Source: CAMARA One Time Password SMS 1.1.1, sendCode.
        """

    def validate_code(self, *args: Any, **options: Any) -> Any:  # noqa: D417 - the arguments of both clients
        """Validate the code that a user typed; returning means that the number is verified.

        Only HTTP 204 returns. Every other response, and every failure, raises.

        Args:
            authentication_id: the value that `send_code` returned, unchanged, 1 to 36 characters; or a whole
                `ValidateCodeRequest`
            code: the user's input, as a string of 1 to 10 characters; case and leading zeros count
            x_correlator: this call's correlator, 1 to 256 characters out of `a-z A-Z 0-9 - _ : ; . / < > { }`
            token: this call's token, as a string, callable or provider; a string is never renewed
            timeout: seconds for this call

        Returns:
            the x-correlator, for your records

        Raises:
            RequestValidationError: an argument breaks a limit; fix it. Nothing was sent.
            ConfigurationError: the client is closed, or `timeout` or `token` cannot be used. Nothing was sent.
            TokenError: no token could be obtained; see the message. The operator processed nothing: at most one request
                arrived, and was refused with 401.
            InvalidOTPError: the code is wrong, attempts are left; ask the user to type it again
            VerificationExpiredError: the code is too old, superseded or already used; start again with `send_code`
            VerificationFailedError: no attempts are left; start again with `send_code`
            NotFoundError: the authentication_id was never issued; start again with `send_code`
            RequestNotSentError: the operator cannot have received the request; calling again is safe
            OutcomeUnknownError: no complete response came; the attempt may be spent. Start again with `send_code`.
            UnexpectedResponseError: a response outside the contract, never a verified number
            APIError: any other refusal; branch on its class

        Source: CAMARA One Time Password SMS 1.1.1, validateCode.
        """

    def _closed(self) -> ConfigurationError:
        return ConfigurationError(f"this {type(self).__name__} is closed; make a new one")

    def __repr__(self) -> str:
        # A debugger may ask for the repr of a client whose arguments were rejected.
        settings: ClientSettings | None = getattr(self, "_settings", None)
        if settings is None:
            return f"{type(self).__name__}(not set up)"
        exchange = getattr(self, "_exchange", None)
        closed = ", closed" if exchange is not None and exchange.closed else ""
        return f"{type(self).__name__}({settings.endpoint.origin}{settings.endpoint.path}{closed})"

    def __reduce__(self) -> NoReturn:
        """Refuse: connections and tokens belong to one process."""
        kind = type(self).__name__
        raise TypeError(f"{kind} holds connections and a token and cannot be copied or pickled; make one per process")


class OTPClient(_Client["Client"]):
    """Send one-time codes by SMS and validate them, synchronously.

    Make one and share it between threads; close it, or use it in a `with` block.
    """

    _http_client_kind = "Client"

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
    def send_code(  # noqa: D102 - the docstring is inherited
        self,
        phone_number: str | SendCodeRequest,
        message: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse:
        try:
            options = Options(x_correlator, token, timeout)
            result = self._observed(prepared_call(self._settings, SEND_CODE, phone_number, message, options))
        except BaseException as error:
            forget_variables(error)
            raise
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
    def validate_code(  # noqa: D102 - the docstring is inherited
        self,
        authentication_id: str | ValidateCodeRequest,
        code: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse:
        try:
            options = Options(x_correlator, token, timeout)
            result = self._observed(prepared_call(self._settings, VALIDATE_CODE, authentication_id, code, options))
        except BaseException as error:
            forget_variables(error)
            raise
        finally:
            del authentication_id, code, token
        if isinstance(result, OTPError):
            raise result
        return result

    def _observed(self, call: OTPCall[T] | OTPError) -> T | OTPError:
        if not self.on_call:
            return self._run(call)
        with Observation(self.on_call, call, self._settings.server) as observation:
            observation.result = self._run(call)
        return observation.result

    def _run(self, call: OTPCall[T] | OTPError) -> T | OTPError:
        if isinstance(call, OTPError):
            return call
        if self._exchange.closed:
            return call.context.attach(self._closed())
        stopped = call.begin(token_from(call.provider, None, call.remaining))
        while stopped is None:
            verdict = call.judge(self._exchange.request(call.outgoing()))
            if not isinstance(verdict, NextAttempt):
                return verdict
            if verdict.wait:
                time.sleep(verdict.wait)
            renew = verdict.renew_token
            stopped = call.begin(token_from(call.provider, call.token, call.remaining) if renew else call.token)
        return stopped

    def close(self) -> None:
        """Close the connections; later calls raise ConfigurationError. An `http_client` of yours stays open."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncOTPClient(_Client["AsyncClient"]):
    """Send one-time codes by SMS and validate them, asynchronously, on asyncio and trio.

    Make one and share it between tasks; close it, or use it in an `async with` block.
    """

    _http_client_kind = "AsyncClient"

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
    async def send_code(  # noqa: D102 - the docstring is inherited
        self,
        phone_number: str | SendCodeRequest,
        message: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> SendCodeResponse:
        try:
            options = Options(x_correlator, token, timeout)
            result = await self._observed(prepared_call(self._settings, SEND_CODE, phone_number, message, options))
        except BaseException as error:
            forget_variables(error)
            raise
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
    async def validate_code(  # noqa: D102 - the docstring is inherited
        self,
        authentication_id: str | ValidateCodeRequest,
        code: str | None = None,
        *,
        x_correlator: str | None = None,
        token: TokenSource | None = None,
        timeout: float | None = None,
    ) -> ValidateCodeResponse:
        try:
            options = Options(x_correlator, token, timeout)
            result = await self._observed(
                prepared_call(self._settings, VALIDATE_CODE, authentication_id, code, options)
            )
        except BaseException as error:
            forget_variables(error)
            raise
        finally:
            del authentication_id, code, token
        if isinstance(result, OTPError):
            raise result
        return result

    async def _observed(self, call: OTPCall[T] | OTPError) -> T | OTPError:
        if not self.on_call:
            return await self._run(call)
        with Observation(self.on_call, call, self._settings.server) as observation:
            observation.result = await self._run(call)
        return observation.result

    async def _run(self, call: OTPCall[T] | OTPError) -> T | OTPError:
        if isinstance(call, OTPError):
            return call
        if self._exchange.closed:
            return call.context.attach(self._closed())
        stopped = call.begin(await atoken_from(call.provider, None, call.remaining))
        while stopped is None:
            verdict = call.judge(await self._exchange.arequest(call.outgoing()))
            if not isinstance(verdict, NextAttempt):
                return verdict
            if verdict.wait:
                await anyio.sleep(verdict.wait)
            renew = verdict.renew_token
            stopped = call.begin(await atoken_from(call.provider, call.token, call.remaining) if renew else call.token)
        return stopped

    async def aclose(self) -> None:
        """Close the connections; later calls raise ConfigurationError. An `http_client` of yours stays open."""
        self._exchange.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
