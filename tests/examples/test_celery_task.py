"""The tasks on real workers: one in this process, and one with several processes."""

import copy
import importlib
import json
import pickle
import signal
import subprocess
import sys

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from camara_otp import (
    InternalError,
    InvalidOTPError,
    OTPError,
    OutcomeUnknownError,
    PhoneNumberBlockedError,
    RequestNotSentError,
    RequestValidationError,
    TokenError,
)
from camara_otp.sandbox import Fault
from tests.examples.conftest import NUMBER, ROOT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:celery", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def example():
    """Load the example once, since Celery knows its tasks by name, with queues in memory."""
    module = importlib.import_module("examples.celery_task")
    module.app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    return module


@pytest.fixture(scope="module")
def worker(example):
    """Run a worker in a thread."""
    with start_worker(example.app, perform_ping_check=False, pool="solo", shutdown_timeout=30):
        yield


@pytest.fixture
def tasks(served, example, worker):
    """Connect the worker to the operator of this test."""
    yield example
    example.otp().close()
    example.otp.cache_clear()


def test_a_code_is_sent_and_checked_by_tasks(tasks, served):
    authentication_id = tasks.send_code.delay(NUMBER).get(timeout=30)

    assert authentication_id == served.operator.messages(NUMBER)[-1].authentication_id
    assert tasks.validate_code.delay(authentication_id, served.operator.last_code(NUMBER)).get(timeout=30) is True


def test_a_refusal_arrives_whole(tasks, served):
    """With class and attributes."""
    authentication_id = tasks.send_code.delay(NUMBER).get(timeout=30)

    with pytest.raises(InvalidOTPError) as caught:
        tasks.validate_code.delay(authentication_id, "wrong").get(timeout=30)

    error = caught.value
    assert (error.status, error.code) == (400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP")
    assert (error.operation, error.attempts, error.outcome_unknown) == ("validate_code", 1, False)
    assert error.x_correlator == served.operator.calls()[-1].x_correlator


def test_an_unknown_outcome_is_not_retried(tasks, served):
    """An SMS may have been sent; the caller gets the error, and the queue does not repeat the task."""
    served.operator.add_fault(Fault(drop="after", acts=True, times=1))

    with pytest.raises(OutcomeUnknownError) as caught:
        tasks.send_code.delay(NUMBER).get(timeout=30)

    assert caught.value.outcome_unknown
    assert served.operator.sent_count == 1


def test_what_was_never_sent_is_retried_by_the_queue(example, monkeypatch):
    """Only errors after which the operator cannot have seen the request are retried."""
    began = []

    class Unreachable:
        def send_code(self, number, message):
            began.append(number)
            raise RequestNotSentError("the operator does not listen")

    monkeypatch.setattr(example, "otp", Unreachable)
    with pytest.raises(RequestNotSentError):
        example.send_code.apply(args=(NUMBER,)).get()

    assert began == [NUMBER] * 4, "one try and three more"
    for task in (example.send_code, example.validate_code):
        assert set(task.autoretry_for) == {RequestNotSentError, TokenError}
        assert not task.acks_late


@pytest.fixture
def queues(tmp_path):
    """Name queues and results that are files: processes share them, and no server is needed."""
    for name in ("messages", "processed", "control", "results"):
        (tmp_path / name).mkdir()
    folders = {
        "data_folder_in": str(tmp_path / "messages"),
        "data_folder_out": str(tmp_path / "messages"),
        "processed_folder": str(tmp_path / "processed"),
        "control_folder": str(tmp_path / "control"),
    }
    return "filesystem://", f"file://{tmp_path / 'results'}", {"broker_transport_options": folders}


WORKER = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("celery_task", "examples/celery_task.py")
module = importlib.util.module_from_spec(spec)
sys.modules["celery_task"] = module
spec.loader.exec_module(module)
module.app.conf.update(json.loads(sys.argv[1]))
options = ["--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle", "--loglevel=warning"]
module.app.worker_main(["worker", *options])
"""


def test_errors_leave_a_worker_of_several_processes(served, queues):
    """The error passes from the child to the worker, to the result file, and to the caller."""
    broker, backend, settings = queues
    caller = Celery("caller", broker=broker, backend=backend)
    caller.conf.update(settings, result_serializer="pickle", result_accept_content=["json", "pickle"])

    def ask(task, *arguments):
        return caller.send_task(f"celery_task.{task}", arguments).get(timeout=30)

    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, json.dumps(settings)],
        cwd=ROOT,
        env=served.environment(CELERY_BROKER_URL=broker, CELERY_RESULT_BACKEND=backend),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        authentication_id = ask("send_code", NUMBER)
        with pytest.raises(InvalidOTPError) as wrong:
            ask("validate_code", authentication_id, "wrong")
        with pytest.raises(PhoneNumberBlockedError) as barred:
            ask("send_code", "+34600000002")
        with pytest.raises(RequestValidationError) as invalid:
            ask("send_code", "nonsense")
        assert ask("validate_code", authentication_id, served.operator.last_code(NUMBER)) is True
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)

    assert (wrong.value.status, wrong.value.operation, wrong.value.attempts) == (400, "validate_code", 1)
    assert barred.value.x_correlator
    assert (invalid.value.field, invalid.value.outcome_unknown) == ("phone_number", False)
    assert "Traceback" not in output, "a refusal is an answer"
    for secret in (NUMBER, "34600000002", served.operator.last_code(NUMBER)):
        assert secret not in output


@pytest.mark.parametrize(
    "error",
    [
        InvalidOTPError(400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", "no"),
        InternalError(500, "INTERNAL"),
        RequestValidationError("phone_number", "is too short"),
        OutcomeUnknownError("the connection was lost"),
        RequestNotSentError("the operator does not listen"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_with_json_results_an_error_keeps_its_class_and_arguments(error):
    """Celery stores and rebuilds the exception."""
    backend = Celery("caller", backend="cache+memory://").backend

    arrived = backend.exception_to_python(json.loads(json.dumps(backend.prepare_exception(error, "json"))))

    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.outcome_unknown == error.outcome_unknown
    for name in ("status", "code", "message", "field", "reason"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_of_a_real_call_crosses_borders_whole(tasks, served, again):
    served.operator.add_fault(Fault(code="TOO_MANY_REQUESTS", retry_after=7, times=1))
    with pytest.raises(OTPError) as caught:
        tasks.otp().send_code(NUMBER, tasks.MESSAGE)

    other = again(caught.value)

    assert type(other) is type(caught.value)
    assert vars(other) == vars(caught.value)
    assert (str(other), other.retry_after) == (str(caught.value), 7)
