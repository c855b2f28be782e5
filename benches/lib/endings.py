"""Programs that end with the script that started them, also when it is told to end."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SECONDS = 60
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_is_starting = False
_asked_by: int | None = None


def leave_tidily() -> None:
    """Has a request to end run every `finally`, so that nothing is left behind."""
    for number in SIGNALS:
        signal.signal(number, _leave)


def _leave(number: int, _frame) -> None:
    global _asked_by
    if _is_starting:
        # The program may be there already, and nobody knows it yet: see `started`.
        _asked_by = number
    else:
        raise SystemExit(128 + number)


@contextmanager
def started(command: list, **options) -> Iterator[subprocess.Popen]:
    """A program for the time of a `with`. It is asked to end then, so that it can end what it has started itself, and killed if it
    takes too long."""
    global _is_starting
    process = None
    _is_starting = True
    try:
        process = subprocess.Popen(command, **options)
        _is_starting = False
        if _asked_by is not None:
            raise SystemExit(128 + _asked_by)
        yield process
    finally:
        _is_starting = False
        if process is not None:
            _stop(process)


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(command: list) -> int:
    """Runs a program to its end."""
    with started(command) as process:
        return process.wait()
