"""Results and errors in a notebook: escaped, and without secrets."""

import html

import pytest

from camara_otp import (
    ConfigurationError,
    InvalidOTPError,
    OTPError,
    OutcomeUnknownError,
    RequestNotSentError,
    RequestValidationError,
    SendCodeResponse,
    TokenError,
    TooManyRequestsError,
    UnexpectedResponseError,
    ValidateCodeResponse,
)


def test_a_sent_code_shows_its_correlator_and_hides_its_id():
    """The attribute of the object has the id."""
    shown = SendCodeResponse("ea0840f3-3663-4149-bd10-c7c6b8912105", "abc-1")._repr_html_()

    assert "<caption>SendCodeResponse</caption>" in shown
    assert "<td>abc-1</td>" in shown
    assert "<td>***</td>" in shown
    assert "ea0840f3" not in shown


def test_a_verified_number_says_so():
    """Unknown values have no row."""
    shown = ValidateCodeResponse()._repr_html_()

    assert shown == "<table><caption>ValidateCodeResponse</caption><tr><th>verified</th><td>yes</td></tr></table>"


def test_an_error_shows_what_a_page_would_branch_on():
    """Class, status, code, retry_after and outcome_unknown."""
    error = TooManyRequestsError(429, "TOO_MANY_REQUESTS", "slow down", retry_after=7.0)
    error.operation, error.attempts, error.x_correlator = "send_code", 1, "abc-1"

    shown = error._repr_html_()

    for fact in ("TooManyRequestsError", "send_code", "429", "TOO_MANY_REQUESTS", "slow down", "7.0", "False", "abc-1"):
        assert f">{fact}<" in shown
    assert "<th>outcome_unknown</th><td>True</td>" in OutcomeUnknownError("reset")._repr_html_()
    assert "<th>field</th><td>code</td>" in RequestValidationError("code", "is too long")._repr_html_()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConfigurationError("base_url: is missing"), "base_url: is missing"),
        (RequestValidationError("code", "is too long"), "code: is too long"),
        (TokenError("refused", error="invalid_client"), "refused"),
        (RequestNotSentError("refused"), "refused"),
        (OutcomeUnknownError("reset"), "reset"),
        (UnexpectedResponseError("HTTP 302", 302), "HTTP 302"),
        (InvalidOTPError(400, "CODE", "text"), "400 CODE: text"),
    ],
)
def test_every_error_shows_its_reason_its_cause_and_its_remedy(error, reason):
    shown = error._repr_html_()

    for name, text in (("reason", reason), ("cause", error.cause), ("remedy", error.remedy)):
        assert f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" in shown


@pytest.mark.parametrize(
    "error", [OTPError("x"), InvalidOTPError(400, "<script>", "<img src=x onerror=alert(1)> & \"'")]
)
def test_an_operator_cannot_write_into_the_page(error):
    """Its strings are escaped."""
    error.x_correlator = "<b>"

    shown = error._repr_html_()

    assert "<script" not in shown
    assert "<img" not in shown
    assert "<b>" not in shown
