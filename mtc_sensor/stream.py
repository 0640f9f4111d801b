"""One exporter's stream of samples: which have come, which are judged, which are missing.

Sequence numbers are an exporter's claim; memory is bounded by what a window lets through, not by
the numbers. Nothing here sends or waits: `mtc_sensor.streams` does the talking.
"""

from __future__ import annotations

from collections.abc import Iterator

RESEND_AFTER_S = 1.0
"""How long a sample that was asked for may take before it is asked for again."""
RESEND_TRIES = 5
MOST_UNACKED = 1 << 16
"""An exporter that claims to have more samples on the way is not believed."""
_MOST_RANGES = 400
"""Every other sample of a window. What is not asked for is given up with the rest."""
_MOST_LOST = 4096


class Stream:
    """Sequence numbers after `base`, each judged, dropped, lost, or in flight.

    In flight are those that wait for a model and those that have not come. The latter are asked for
    `RESEND_TRIES` times and lost then; what the exporter no longer keeps is lost at once.
    """

    def __init__(self, base: int, now: float) -> None:
        self.base = base
        """All up to it were not this sensor's."""
        self.acked = base
        """All up to it are judged or lost."""
        self.last = base
        """The highest number that the exporter is known to have given."""
        self.judged = 0
        self.lost = 0
        self.shed = 0
        """What the exporter says it has given up before giving it a number."""
        self.dropped = 0
        """What came and was not judged, because the sensor had too much to do."""
        self.ends: int | None = None
        """The last number of all, once the exporter has said so."""
        self.closed = False
        """Another run has taken the exporter's place; nothing more is expected."""
        self.unsynced = True
        """The exporter has not said yet where it stands: it was not asked, or has not answered."""
        self.heard = now
        self._here: dict[int, bool] = {}
        """Of the numbers above `acked`, those that came: whether they are judged or dropped."""
        self._given_up = base
        """What is missing up to it is lost."""
        self._lost: list[tuple[int, int]] = []
        """Ranges of `lost`, ascending, of which the exporter may still know."""
        self._dropped: list[tuple[int, int]] = []
        """Ranges of `dropped`, likewise."""
        self._asked = now - RESEND_AFTER_S
        self._tries = 0

    @property
    def in_flight(self) -> int:
        """Samples given a number and neither judged, dropped nor lost."""
        return self.last - self.base - self.judged - self.dropped - self.lost

    @property
    def finished(self) -> bool:
        """Whether the exporter has said that it ends, and all that it gave is accounted for."""
        return self.ends is not None and self.acked >= self.ends and not self.unsynced

    @property
    def queued(self) -> int:
        """Samples that came and are neither judged nor dropped yet."""
        return sum(not done for done in self._here.values())

    def receive(self, seq: int, limit: int) -> str | None:
        """Take a sample in, or say why not; numbers above `limit` are beyond every window."""
        if self.closed:
            return "of_a_closed_stream"
        if seq <= self.acked or seq in self._here:
            return "duplicate"
        if seq <= self._given_up:
            return "late"
        if seq > limit:
            return "beyond_window"
        self._here[seq] = False
        self.last = max(self.last, seq)
        return None

    def judge(self, seq: int) -> None:
        """Count a sample that was received as judged; one of before a `sync` may be gone."""
        if self._here.get(seq) is False:
            self._here[seq] = True
            self.judged += 1
            self._advance()

    def drop(self, seq: int) -> None:
        """Count a sample that was received as dropped: it is done with, but not judged."""
        if self._here.get(seq) is False:
            self._here[seq] = True
            self.dropped += 1
            self._dropped.append((seq, seq))
            del self._dropped[:-_MOST_LOST]
            self._advance()

    def forget(self, seq: int) -> None:
        """Make a sample that was received a missing one: no verdict on it could be sent."""
        if self._here.get(seq) is False:
            del self._here[seq]

    def status(self, first_unacked: int, last: int, shed: int, now: float) -> bool:
        """Take in where the exporter stands; return whether that made sense."""
        if not 0 <= last - first_unacked + 1 <= MOST_UNACKED or self.closed:
            return False
        if self.unsynced:
            self._sync(first_unacked - 1)
            if last >= first_unacked:  # of itself an exporter resends what has no ack
                self._asked = now
        self.shed = max(self.shed, shed)
        self.last = max(self.last, last, first_unacked - 1)
        self._give_up(first_unacked - 1)
        return True

    def end(self, last: int) -> bool:
        """Take in that `last` was the exporter's last; return whether that made sense."""
        if last < self.last or last - self.acked > MOST_UNACKED or self.closed:
            return False
        self.last = self.ends = last
        return True

    def close(self) -> None:
        """Give up what has not come; what has is still judged."""
        self._give_up(self.last)
        self.closed = True

    def resend(self, now: float) -> list[tuple[int, int]]:
        """Return ranges to ask for now, if any; give up what was asked for often enough."""
        if self.closed or self.unsynced or now - self._asked < RESEND_AFTER_S:
            return []
        ranges = list(self._missing(self.last))
        if not ranges:
            self._tries = 0
        elif self._tries >= RESEND_TRIES:
            self._give_up(self.last)
            self._tries, ranges = 0, []
        else:
            self._tries += 1
            self._asked = now
        return ranges[:_MOST_RANGES]

    def _sync(self, acked: int) -> None:
        """Go back to where the exporter is: verdicts of which it has no ack may not have come."""
        self.unsynced = False
        here = self._here.items()
        dropped = _overlap(self._dropped, acked, self.last)
        self.judged -= sum(done and seq > acked for seq, done in here)
        self.judged -= max(self.acked - max(acked, self.base), 0)
        self.judged += _overlap(self._lost, acked, self.acked) + dropped
        self.lost -= _overlap(self._lost, acked, self.last)
        self.dropped -= dropped
        self._here = {seq: done for seq, done in here if seq <= acked or not done}
        self._lost, self._dropped = _upto(self._lost, acked), _upto(self._dropped, acked)
        self.base, self.acked = min(self.base, acked), min(self.acked, acked)
        self._given_up = min(self._given_up, acked)
        self._tries = 0

    def _give_up(self, upto: int) -> None:
        """Count what is missing up to `upto` as lost."""
        for first, last in self._missing(upto):
            self.lost += last - first + 1
            self._lost.append((first, last))
        del self._lost[:-_MOST_LOST]
        self._given_up = max(self._given_up, upto)
        self._advance()

    def _missing(self, upto: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges up to `upto` that have not come and are not given up."""
        before = max(self.acked, self._given_up)
        for seq in sorted(seq for seq in self._here if before < seq <= upto):
            if seq > before + 1:
                yield before + 1, seq - 1
            before = seq
        if before < upto:
            yield before + 1, upto

    def _advance(self) -> None:
        """Move `acked` over everything that is judged, dropped or lost."""
        while True:
            done = self._here.get(self.acked + 1)
            if done:
                self.acked += 1
                del self._here[self.acked]
            elif done is None and self.acked < self._given_up:
                ahead = min((seq for seq in self._here if seq > self.acked), default=self.last + 1)
                self.acked = min(ahead - 1, self._given_up)
            else:
                return


def _upto(ranges: list[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    return [(first, min(last, number)) for first, last in ranges if first <= number]


def _overlap(ranges: list[tuple[int, int]], after: int, upto: int) -> int:
    """Count the numbers of `ranges` that are above `after` and not above `upto`."""
    return sum(max(min(last, upto) - max(first - 1, after), 0) for first, last in ranges)
