"""Run a function in a thread of its own, and wait for it in a thread or in a task of any event loop."""

import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")


def start_thread(target: Callable[..., None], *args: Any) -> None:
    """Start a daemon thread.

    Raises:
        RuntimeError: the process cannot start another thread, or the interpreter is ending
    """
    if sys.is_finalizing():  # Python 3.11 would wait for the thread for ever
        raise RuntimeError
    threading.Thread(target=target, args=args, name="camara-otp", daemon=True).start()


def run_in_thread(function: Callable[..., T], *args: Any) -> Future[T]:
    """Run a function in a thread of its own and return its future.

    Raises:
        RuntimeError: the process cannot start another thread
    """
    future: Future[T] = Future()
    start_thread(fulfill, future, function, *args)
    return future


def fulfill(future: Future[T], function: Callable[..., T], *args: Any) -> None:
    """Run a function, and set its result or its exception as that of a future."""
    try:
        result = function(*args)
    except BaseException as error:  # noqa: BLE001 - raised again where the future is read
        future.set_exception(error)
    else:
        future.set_result(result)


def wait(future: Future[T], timeout: float) -> T | None:
    """Wait for a future in a thread; return None after `timeout` seconds."""
    # Not by the TimeoutError of `result`: the function, or a signal handler of the caller, may raise one too.
    futures.wait([future], max(timeout, 0.0))
    return future.result() if future.done() else None


async def await_future(future: Future[T], timeout: float) -> T | None:
    """Wait for a future in a task, on any event loop that anyio supports; return None after `timeout` seconds."""
    if not future.done():
        done = anyio.Event()
        wake = setter(done)
        future.add_done_callback(lambda _: wake())
        with anyio.move_on_after(max(timeout, 0.0)):
            await done.wait()
    return future.result() if future.done() else None


def setter(event: anyio.Event) -> Callable[[], None]:
    """Return a function that sets an event of the running event loop, from any thread."""
    # Newer releases of anyio wrap the loop's own handle.
    handle: Any = anyio.lowlevel.current_token()
    handle = getattr(handle, "native_token", handle)
    call = getattr(handle, "call_soon_threadsafe", None) or handle.run_sync_soon

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed, and its tasks with it
            call(event.set)

    return wake
