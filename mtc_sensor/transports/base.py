"""What all transports share: the inbox that they fill, and how they are started and ended.

A transport has one thread, which receives and puts messages into the inbox; it never waits for
whoever empties that, and decodes them then. What finds no room is dropped and counted: the stream's
numbers show the gap, and it is asked for again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from mtc_sensor.errors import WireError
from mtc_sensor.measures import Measures
from mtc_sensor.wire.events import MtcEvent
from mtc_sensor.wire.records import Records

INBOX_SIZE = 1024
"""Messages that may wait; the windows of all exporters let 400 samples come."""
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
    """A bounded queue from transports to the sensor: messages as they came, with notices between.

    Whoever empties it decodes them, so that to receive is all that a transport's thread does.
    """

    def __init__(self, size: int = INBOX_SIZE) -> None:
        self._size = size
        self._items: list[tuple[Callable[[Any], Incoming | None], object]] = []
        self._filled = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, messages: Sequence[Message], read: Callable[[Message], Incoming | None]) -> int:
        """Add messages that there is room for; return for how many was none.

        `read` decodes one, later and in another thread, or returns None.
        """
        with self._filled:
            taken = messages[: max(self._size - len(self._items), 0)]
            self._items += [(read, message) for message in taken]
            self._filled.notify()
        return len(messages) - len(taken)

    def tell(self, notice: Notice | Failed) -> None:
        """Add what nobody may miss, with or without room."""
        with self._filled:
            self._items.append((lambda _: notice, None))
            self._filled.notify()

    def get(self, timeout: float) -> list[Incoming]:
        """Return all that has come, decoded; wait for something at most `timeout` seconds."""
        with self._filled:
            if not self._items:
                self._filled.wait(timeout)
            items, self._items = self._items, []
        found = (read(message) for read, message in items)
        return [item for item in found if item is not None]


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
            self._inbox.tell(Failed(fault))

    def _say(self, level: int, text: str, of: str = "") -> None:
        """Log what has become of a connection; the same again, as of each attempt, only once."""
        if text != self._said.get(of):
            self._said[of] = text
            logger.log(level, "%s", text)

    def _deliver(
        self, decode: Callable[[Message], MtcEvent | Records], messages: Sequence[Message]
    ) -> None:
        """Put messages into the inbox, to be decoded there; count what finds no room."""
        if left := self._inbox.put(messages, partial(self._read, decode)):
            self.counts["inbox_full"] += left

    def _read(
        self, decode: Callable[[Message], MtcEvent | Records], message: Message
    ) -> MtcEvent | Records | None:
        """Decode a message; count it if it is malformed."""
        begin = time.perf_counter()
        try:
            return decode(message)
        except WireError as error:
            self.counts["undecodable"] += 1
            logger.debug("undecodable message: %s", error)
            return None
        finally:
            self.measures.stage("decode", time.perf_counter() - begin)
