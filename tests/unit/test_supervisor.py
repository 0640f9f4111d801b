"""The supervisor with processes that only pretend to be some, and a clock that is passed in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from signal import SIGHUP, SIGKILL, SIGTERM

from mtc_sensor.supervisor import DRAIN_S, STEADY_S, Process, Supervisor


class Fake:
    """A process that ends when it is told to, unless it is `deaf`."""

    def __init__(self, pid: int, deaf: bool = False) -> None:
        self.pid = pid
        self.signals: list[int] = []
        self.code: int | None = None
        self._deaf = deaf

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        if number == SIGKILL:
            self.code = -SIGKILL
        elif number == SIGTERM and not self._deaf:
            self.code = 0


class World:
    """Time, and everything that was started: (worker, time) with its process."""

    def __init__(self, deaf: bool = False) -> None:
        self.now = 0.0
        self.started: list[tuple[int, float]] = []
        self.processes: list[Fake] = []
        self._deaf = deaf

    def start(self, number: int) -> Process:
        self.started.append((number, self.now))
        self.processes.append(Fake(100 + len(self.processes), self._deaf))
        return self.processes[-1]

    def run(self, count: int, seconds: float, act: Callable[[Supervisor], object]) -> int:
        """Run for some seconds; `act` is called in every round."""
        supervisor = Supervisor(self.start, count, lambda: self.now)

        def wait(for_s: float) -> None:
            self.now += for_s
            act(supervisor)

        return supervisor.run(lambda: self.now >= seconds, wait)


def test_workers_are_started_once_and_end_with_the_supervisor() -> None:
    world = World()
    assert world.run(3, 10.0, lambda _: None) == 0
    assert world.started == [(1, 0.0), (2, 0.0), (3, 0.0)]
    assert [process.signals for process in world.processes] == [[SIGTERM]] * 3


def test_one_that_dies_is_started_again_later_and_later() -> None:
    world = World()

    def kill_the_second(_: Supervisor) -> None:
        if world.started[-1][0] == 2:
            world.processes[-1].code = -SIGKILL

    world.run(2, 60.0, kill_the_second)
    assert [number for number, _ in world.started if number == 1] == [1]
    times = [at for number, at in world.started if number == 2]
    waits = [later - at for at, later in pairwise(times)]
    assert 0.25 <= waits[0] <= 0.8
    assert 4 <= len(waits) <= 12
    assert max(waits) > 8


def test_one_that_was_steady_does_not_wait_long() -> None:
    world = World()

    def kill_after_a_while(_: Supervisor) -> None:
        if world.now - world.started[-1][1] > STEADY_S:
            world.processes[-1].code = 3

    world.run(1, 4 * STEADY_S, kill_after_a_while)
    times = [at for _, at in world.started]
    assert len(times) == 4
    assert all(later - at < STEADY_S + 1.0 for at, later in pairwise(times))


def test_what_only_the_user_can_mend_ends_all() -> None:
    world = World()

    def fail(_: Supervisor) -> None:
        world.processes[0].code = 1

    assert world.run(2, 10.0, fail) == 1
    assert world.now < 1.0
    assert [process.signals for process in world.processes] == [[], [SIGTERM]]


def test_a_reload_is_passed_on_once() -> None:
    world = World()

    def reload_once(supervisor: Supervisor) -> None:
        if 0.95 < world.now < 1.05:
            supervisor.reload()

    assert world.run(2, 3.0, reload_once) == 0
    assert [process.signals for process in world.processes] == [[SIGHUP, SIGTERM]] * 2


def test_who_does_not_end_is_killed() -> None:
    world = World(deaf=True)
    assert world.run(2, 1.0, lambda _: None) == 1
    assert 1.0 + DRAIN_S <= world.now <= 2.0 + DRAIN_S
    assert [process.signals for process in world.processes] == [[SIGTERM, SIGKILL]] * 2


def test_a_worker_that_was_told_to_end_before_it_could_hear_has_not_failed() -> None:
    world = World(deaf=True)

    def end(_: Supervisor) -> None:
        if world.processes and world.processes[0].signals:
            world.processes[0].code = -SIGTERM

    assert world.run(1, 1.0, end) == 0
