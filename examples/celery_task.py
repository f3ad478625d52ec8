"""One-time codes from Celery tasks: `celery --app examples.celery_task worker`.

Settings come from CAMARA_BASE_URL, CAMARA_BEARER_TOKEN and CELERY_BROKER_URL. Three rules keep a queue from texting
anyone twice:

- `acks_late` stays off (it is Celery's default): a task whose worker dies is lost, not sent again;
- a task is retried only on `RequestNotSentError` and `TokenError`, after which the operator cannot have seen it;
- a task expires: a code that is asked for now is of no use in ten minutes.

The exceptions of this package cross the process border whole, attributes included, with the pickle serializer. Pickle
trusts its source: only your workers may write to the result backend. With JSON they keep class,
status and code.
"""

import os
from functools import cache

from celery import Celery

from camara_otp import OTPClient, OTPError, RequestNotSentError, TokenError

MESSAGE = "{{code}} is your code for Cool App"

app = Celery("cool_app", broker=os.environ.get("CELERY_BROKER_URL"), backend=os.environ.get("CELERY_RESULT_BACKEND"))
app.conf.update(
    result_serializer="pickle",
    accept_content=["json"],  # tasks hold plain values
    result_accept_content=["json", "pickle"],
    result_expires=600,
    task_acks_late=False,
    broker_connection_retry_on_startup=True,
)


@cache
def otp():
    """Return the client of this worker process; made in it, since connections do not survive a fork."""
    return OTPClient()


@app.task(
    throws=(OTPError,),  # refusals are answers: no stack trace in the log
    autoretry_for=(RequestNotSentError, TokenError),
    max_retries=3,
    retry_backoff=1,
    retry_backoff_max=10,
    expires=120,
)
def send_code(phone_number):
    """Send a code and return the authentication id."""
    return otp().send_code(phone_number, MESSAGE).authentication_id


@app.task(
    throws=(OTPError,), autoretry_for=(RequestNotSentError, TokenError), max_retries=3, retry_backoff=1, expires=120
)
def validate_code(authentication_id, code):
    """Return True for the right code; a wrong one raises `InvalidOTPError`, in the caller too."""
    otp().validate_code(authentication_id, code)
    return True
