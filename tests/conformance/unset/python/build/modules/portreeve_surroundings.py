"""What Python expects around it and a policy has not: here it leads to the gateway, or raises an error that says so.

Left alone, these calls would end the instance without a word. This module is imported before the policy.
"""

import builtins
import datetime
import io
import os
import random
import sys
import time

from wit_world.imports import log

_now: int | None = None


def begin(milliseconds: int) -> None:
    """The one clock of a decision is that of its request."""
    global _now
    _now = milliseconds


def _milliseconds() -> int:
    if _now is None:
        raise RuntimeError("a policy has no clock before it decides: the time of a decision is request.now")
    return _now


class _Lines(io.TextIOBase):
    """What is printed is a line in the gateway's log."""

    def __init__(self, level: log.Level) -> None:
        self._level = level
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            log.write(self._level, line)
        return len(text)


class _DateTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(_milliseconds() / 1000, tz or datetime.timezone.utc).replace(tzinfo=tz)

    @classmethod
    def utcnow(cls):
        return cls.now()

    @classmethod
    def today(cls):
        return cls.now()


class _Date(datetime.date):
    @classmethod
    def today(cls):
        return cls.fromordinal(_DateTime.now().toordinal())


def _none(what: str):
    def call(*_given: object, **_named: object):
        raise OSError(f"a policy has no {what}")

    return call


def _seconds() -> float:
    return _milliseconds() / 1000


def _nanoseconds() -> int:
    return _milliseconds() * 1_000_000


def _leave(code: object = None, *_: object) -> None:
    raise SystemExit(code)


sys.stdout = _Lines(log.Level.INFO)
sys.stderr = _Lines(log.Level.ERROR)
for _name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
    setattr(time, _name, _seconds)
    setattr(time, f"{_name}_ns", _nanoseconds)
time.sleep = _none("time to sleep")
for _name in ("gmtime", "localtime", "ctime"):
    _given = getattr(time, _name)
    setattr(time, _name, lambda seconds=None, given=_given: given(_seconds() if seconds is None else seconds))
datetime.datetime = _DateTime
datetime.date = _Date
builtins.open = io.open = os.open = _none("files")
builtins.input = _none("input")
os.urandom = random._urandom = _none("source of randomness")
os.getrandom = os.urandom
os._exit = os.abort = _leave
