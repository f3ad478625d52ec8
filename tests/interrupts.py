"""Interrupt code at each of its lines, as a signal handler may."""

import sys


class Interrupt(BaseException):
    """As KeyboardInterrupt, raised at any line."""


def _interrupt():
    raise Interrupt


def interrupted_at(line, work, files):
    """Do the work, and interrupt it at its n-th line inside these files; return whether there was such a line."""
    return entered_at(line, work, files, _interrupt)


def entered_at(line, work, files, handler):
    """Do the work, and call a handler at its n-th line inside these files; return whether there was such a line."""
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(files):
            return None
        if event == "line":
            lines += 1
            if lines == line:
                sys.settrace(None)
                handler()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        pass
    finally:
        sys.settrace(before)
    return lines >= line
