"""Instructions that a call takes, as a ratio to the hand-written call's. Run by `make bench-instructions`.

    python benchmarks/instructions.py [--save]

They are stable where times are not. Callgrind counts each way twice, with few calls and with more, so that what is
left is the calls alone. The check fails when a ratio is more than MARGIN above the one saved for this Python; another
Python's interpreter works differently, and so does another processor's machine code.
"""

import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import client as bench  # its neighbor: a script's own folder is on the path
import httpx

from camara_otp import OTPClient

HERE = Path(__file__).parent
SAVED = HERE / "instructions.json"
KIND = f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor} {platform.machine()}"
MARGIN = 1.08
FEW, MORE = 20, 120
PLACES = ("in process", "on the wire")


def run(way, url, calls):
    """Make the calls that are counted."""
    options = {}
    client = httpx.Client()
    if way.startswith("in process"):
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=bench.BODY))
        client = httpx.Client(transport=transport)
        options["http_client"] = client
    gc.freeze()  # else a collection of everything that was imported falls into one count and not into the other
    with client, OTPClient(url, token=bench.TOKEN, **options) as otp:
        for _ in range(calls):
            if way.endswith("by hand"):
                bench.by_hand(client, url + bench.PATH)
            else:
                otp.send_code(bench.NUMBER, bench.MESSAGE)


def counted(way, url, calls):
    """Return the instructions of a process that makes the calls."""
    done = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            sys.executable,
            __file__,
            way,
            url,
            str(calls),
        ],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def per_call(way, url):
    return (counted(way, url, MORE) - counted(way, url, FEW)) / (MORE - FEW)


def main():
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing; on Debian: apt-get install valgrind")
    figures = json.loads(SAVED.read_text()) if SAVED.exists() else {}
    saved = figures.get(KIND, {})
    ratios = {}
    with bench.operator() as port, ThreadPoolExecutor(2) as pool:
        url = f"http://127.0.0.1:{port}"
        pairs = [pool.map(lambda way: per_call(way, url), (f"{place} ours", f"{place} by hand")) for place in PLACES]
        for place, (mine, theirs) in zip(PLACES, pairs, strict=True):
            ratios[place] = round(mine / theirs, 3)
            print(f"{place}: {mine:,.0f} / {theirs:,.0f} instructions = {ratios[place]} (saved: {saved.get(place)})")
    if "--save" in sys.argv:
        SAVED.write_text(json.dumps(figures | {KIND: ratios}, indent=1, sort_keys=True) + "\n")
    elif not saved:
        print(f"nothing to compare with: no figures are saved for {KIND}")
    elif any(ratio > saved[place] * MARGIN for place, ratio in ratios.items()):
        sys.exit(f"a call takes more than {MARGIN - 1:.0%} more instructions than when the figures were saved")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
