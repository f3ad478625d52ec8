"""gevent and eventlet replace sockets, threads and TLS; calls still work."""

import os
import socket
import subprocess
import sys
import textwrap

import pytest

from tests.faults.conftest import faults
from tests.faults.scenarios import raw, replies

__all__ = ["faults"]

GREEN = """
    import sys
    if {late}:
        import camara_otp
        from camara_otp import OTPClient
        with OTPClient(sys.argv[1], token="t") as client:
            client.send_code("+346661113334", "{{{{code}}}}")
    {patch}
    from camara_otp import OTPClient
    with OTPClient(sys.argv[1], token="t", timeout=20) as client:
        for _ in range(2):
            print(client.send_code("+346661113334", "{{{{code}}}}").authentication_id)
    try:
        OTPClient(sys.argv[2], token="t", timeout=20, retry=None).send_code("+346661113334", "{{{{code}}}}")
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("late", [False, True], ids=["patched before", "patched after"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    ("library", "patch"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_green_threads_may_replace_the_socket(faults, library, patch, tls, late):
    """Before the import of this package or after it, also after a call."""
    listener = faults.listen(replies(raw()), tls=faults.tls if tls else None)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(GREEN).format(late=late, patch=patch),
            f"http{'s' if tls else ''}://localhost:{listener.port}",
            nowhere,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"SSL_CERT_FILE": faults.trust},
    )
    assert done.stdout.split()[-3:] == ["ea0840f3-3663-4149-bd10-c7c6b8912105"] * 2 + ["RequestNotSentError"], (
        done.stderr
    )
