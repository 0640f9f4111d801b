"""Several sensor processes under one: they share the shards, and one that dies is started again."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM
from typing import Protocol

from mtc_sensor.transports.base import Backoff

USER_FAULT = 1
"""Exit code of a worker that would end in the same way again."""
STEADY_S = 60.0
"""A worker that has run for so long begins with short waits again when it dies."""
DRAIN_S = 30.0
"""How long workers may take to judge what is on the way, and to end."""
_TICK_S = 0.1

logger = logging.getLogger(__name__)


class Process(Protocol):
    """What is needed of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, minus the signal's number for one that was killed; None: runs."""

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""


def start_worker(config: Path, number: int) -> Process:
    """Start worker 1, 2, ... of `config`, in a group of its own: ^C is for the supervisor."""
    command = [sys.executable, "-m", "mtc_sensor", "run", "--config", str(config)]
    command += ["--worker", str(number)]
    return subprocess.Popen(command, process_group=0)  # noqa: S603 - no shell


class Supervisor:
    """Keeps workers running until it is told to stop.

    Parameters
    ----------
    start
        Starts a worker, by its number.
    count
        How many: their numbers begin with 1.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        start: Callable[[int], Process],
        count: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._workers = [_Worker(start, number) for number in range(1, count + 1)]
        self._reload = False

    def reload(self) -> None:
        """Have all workers load their bundles anew; a signal handler may call it."""
        self._reload = True

    def run(self, stop: Callable[[], bool], wait: Callable[[float], object] = time.sleep) -> int:
        """Keep the workers running until `stop` says so; return the exit code.

        That is 0 if all have judged what was on the way, and 1 if one ended because of what only
        the user can mend: then all end.
        """
        fault = False
        while not stop() and not fault:
            fault = self._look()
            wait(_TICK_S)
        return max(self._end(wait), int(fault))

    def _look(self) -> bool:
        """Start what is due and pass signals on; return whether a worker ended for good."""
        now = self._clock()
        codes = [worker.look(now) for worker in self._workers]
        if self._reload:
            self._reload = False
            self._signal(SIGHUP)
        return USER_FAULT in codes

    def _end(self, wait: Callable[[float], object]) -> int:
        self._signal(SIGTERM)
        end = self._clock() + DRAIN_S
        while any(worker.running for worker in self._workers) and self._clock() < end:
            wait(_TICK_S)
        self._signal(SIGKILL)
        return int(any(worker.failed for worker in self._workers))

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            worker.signal(number)


class _Worker:
    """One process after the other."""

    def __init__(self, start: Callable[[int], Process], number: int) -> None:
        self._start, self._number = start, number
        self._backoff = Backoff(first=0.5, most=30.0)
        self._process: Process | None = None
        self._started = self._start_at = float("-inf")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than when told to; before it could hear, it ends by signal."""
        return self._process is not None and self._process.poll() not in (0, -SIGTERM)

    def signal(self, number: int) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def look(self, now: float) -> int | None:
        """Start the process if it is time to; return the exit code if it has just ended."""
        if self._process is None:
            if now >= self._start_at:
                self._process, self._started = self._start(self._number), now
                self._log("worker started", pid=self._process.pid)
            return None
        code = self._process.poll()
        if code is not None:
            self._bury(code, now)
        return code

    def _bury(self, code: int, now: float) -> None:
        if now - self._started >= STEADY_S:
            self._backoff.reset()
        self._start_at = now + self._backoff.next()
        self._process = None
        self._log("worker ended", code=code)

    def _log(self, message: str, **more: int) -> None:
        logger.info(message, extra={"fields": {"worker": self._number, **more}})
