"""Send and check one-time codes in Celery tasks.

Run it in the folder of this file: `celery --app celery_task worker`. The settings are CAMARA_BASE_URL,
CAMARA_BEARER_TOKEN, CELERY_BROKER_URL, and CELERY_RESULT_BACKEND. Three rules prevent a second SMS:

- `acks_late` stays off (Celery's default): a task whose worker is killed is lost, and is not run again.
- A task is retried only after `RequestNotSentError` and `TokenError`: the operator cannot have processed the request.
- A task expires: a code that was requested ten minutes ago is useless.

With the pickle serializer, the caller gets the exceptions of this package with all attributes. Unpickling can run
code, so only your workers may write to the result backend. With JSON, exceptions keep class, status and code.
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
    """Return the client of this worker process. Connections cannot be used after a fork."""
    return OTPClient()


@app.task(
    throws=(OTPError,),  # expected: logged without a traceback
    autoretry_for=(RequestNotSentError, TokenError),
    max_retries=3,
    retry_backoff=1,
    retry_backoff_max=10,
    expires=120,
)
def send_code(phone_number):
    """Send a code, and return the authentication id."""
    return otp().send_code(phone_number, MESSAGE).authentication_id


@app.task(
    throws=(OTPError,), autoretry_for=(RequestNotSentError, TokenError), max_retries=3, retry_backoff=1, expires=120
)
def validate_code(authentication_id, code):
    """Return True if the code is right. A wrong code raises `InvalidOTPError`, also in the caller."""
    otp().validate_code(authentication_id, code)
    return True
