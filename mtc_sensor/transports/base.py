"""What all transports share: the inbox that they fill, and how they are started and ended.

A transport has one thread, which receives, decodes and puts events into the inbox; it never waits
for whoever empties that. What finds no room is dropped and counted: the stream's numbers show the
gap, and it is asked for again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from mtc_sensor.errors import WireError
from mtc_sensor.measures import Measures
from mtc_sensor.wire.events import MtcEvent, SampleBatch
from mtc_sensor.wire.records import Records

INBOX_SIZE = 4096
"""Events and samples that may wait; the windows of all exporters let 400 samples come."""
MAX_MESSAGE = 1 << 20
"""Bytes of a message; a sample takes some 12,000."""

logger = logging.getLogger(__name__)

Message = TypeVar("Message")


@dataclass(frozen=True)
class Connected:
    """The bus is there (again): exporters can hear."""

    generation: int


@dataclass(frozen=True)
class Subscribed:
    """Somebody on the bus began to listen to `topic`."""

    topic: str
    generation: int


@dataclass(frozen=True)
class Unsubscribed:
    """The last one who listened to `topic` has gone, or the bus has."""

    topic: str
    generation: int


@dataclass(frozen=True)
class Failed:
    """The transport's thread cannot go on."""

    fault: BaseException


Notice: TypeAlias = Connected | Subscribed | Unsubscribed
Incoming: TypeAlias = MtcEvent | Records | Notice | Failed


class Inbox:
    """A bounded queue from transports to the sensor; its length counts samples, not messages."""

    def __init__(self, size: int = INBOX_SIZE) -> None:
        self._size = size
        self._items: deque[Incoming] = deque()
        self._length = 0
        self._filled = threading.Condition()

    def __len__(self) -> int:
        return self._length

    def put(self, items: Iterable[Incoming], *, force: bool = False) -> int:
        """Add items that there is room for, with `force` all; return for how many was none."""
        left = 0
        with self._filled:
            for item in items:
                length = len(item) if isinstance(item, Records) else 1
                if force or self._length + length <= self._size:
                    self._items.append(item)
                    self._length += length
                else:
                    left += length
            self._filled.notify()
        return left

    def get(self, timeout: float) -> list[Incoming]:
        """Return all that has come; wait for something at most `timeout` seconds."""
        with self._filled:
            if not self._items:
                self._filled.wait(timeout)
            items = list(self._items)
            self._items.clear()
            self._length = 0
            return items


class Backoff:
    """Seconds between attempts: doubled from `first` to `most`, half of it by chance."""

    def __init__(
        self, first: float = 0.1, most: float = 5.0, chance: Callable[[], float] = random.random
    ) -> None:
        self._first, self._most, self._chance = first, most, chance
        self._attempts = 0

    def reset(self) -> None:
        """Begin again with `first`: an attempt was successful."""
        self._attempts = 0

    def next(self) -> float:
        """Return how long to wait before the next attempt."""
        delay = min(self._first * 2.0**self._attempts, self._most)
        self._attempts = min(self._attempts + 1, 30)
        return delay * (0.5 + 0.5 * self._chance())


class Transport(ABC):
    """A way to Zeek's bus.

    Parameters
    ----------
    inbox
        Where events go.
    topics
        Prefixes of the topics to receive.
    """

    def __init__(self, inbox: Inbox, topics: Sequence[str]) -> None:
        self.topics = tuple(topics)
        self.counts: Counter[str] = Counter()
        """What was dropped, by the reason's name."""
        self.measures = Measures()
        """What decoding took."""
        self.generation = 0
        """Goes up when something that was published may not have arrived."""
        self._inbox = inbox
        self._said: dict[str, str] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        """Begin to connect, in the background, and to receive."""
        self._thread.start()

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the bus is there now, as far as is known; any thread may ask."""

    @property
    def unreached(self) -> tuple[str, ...]:
        """Addresses of the parts of the bus that are not there now, where it has parts."""
        return ()

    @abstractmethod
    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        """Send events to topics, in order; return of each whether it was handed over.

        What is not is counted. It is not if `generation`, that of the last notice which the caller
        knows of, is not the current one: an ack must not overtake the news that verdicts before it
        may be gone. This waits, for a few seconds at most, while the bus takes no more. Any thread
        may call it.
        """

    def close(self) -> None:
        """Send what waits, disconnect and end; a second time it does nothing."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Receive until `_closing` is set, reconnecting as often as needed."""

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as fault:
            self._inbox.put([Failed(fault)], force=True)

    def _say(self, level: int, text: str, of: str = "") -> None:
        """Log what has become of a connection; the same again, as of each attempt, only once."""
        if text != self._said.get(of):
            self._said[of] = text
            logger.log(level, "%s", text)

    def _notify(self, item: Notice) -> None:
        self._inbox.put([item], force=True)

    def _deliver(
        self, decode: Callable[[Message], MtcEvent | Records], messages: Iterable[Message]
    ) -> None:
        """Decode messages into the inbox; count what is malformed or finds no room."""
        begin = time.perf_counter()
        events: list[Incoming] = []
        for message in messages:
            try:
                event = decode(message)
                events.append(
                    Records.of(event.records) if isinstance(event, SampleBatch) else event
                )
            except WireError as error:
                self.counts["undecodable"] += 1
                logger.debug("undecodable message: %s", error)
        self.measures.stage("decode", time.perf_counter() - begin)
        left = self._inbox.put(events)
        if left:
            self.counts["inbox_full"] += left
