"""Interrupt code at each of its lines, as a signal handler may."""

import sys


class Interrupt(BaseException):
    """As KeyboardInterrupt, raised at any line."""


def interrupted_at(line, work, files):
    """Do the work, and interrupt it at its n-th line inside these files; return whether there was such a line."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(files):
            return None
        if event == "line":
            lines += 1
            if lines == line:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False
