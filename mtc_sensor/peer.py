"""One exporter as the sensor treats it: its stream, its window, and when it was spoken to.

Windows are limits: an exporter publishes no further than the limit of its last grant.
"""

from __future__ import annotations

from mtc_sensor.stream import Stream
from mtc_sensor.wire.values import MAX_COUNT

REVOKE_S = 1.0
"""A window that was made smaller counts so much longer: it may have been used before."""
HELLO_EVERY_S = 0.5
ABSENT_S = 10.0
"""An exporter that answers no hello for so long uses no window: the node may have been renamed."""


class Peer:
    """A stream and what was said to its exporter.

    Parameters
    ----------
    stream
        The exporter's stream.
    now
        Seconds, as for all methods.
    """

    def __init__(self, stream: Stream, now: float) -> None:
        self.stream = stream
        self.limit = stream.acked
        self.granted: tuple[int, int] | None = None
        self.granted_at = now
        self.hello_at = now - HELLO_EVERY_S
        self._revoked = (stream.acked, now)

    def held(self, now: float) -> int:
        """Return how many samples may be on the way, or wait for a model."""
        if self.stream.unsynced and now - self.stream.heard >= ABSENT_S:
            return self.stream.queued
        limit, until = self._revoked
        highest = max(self.limit, self.stream.last, limit if now < until else 0)
        return highest - self.stream.acked

    def allow(self, window: int, now: float) -> None:
        """Let the exporter go `window` beyond what is acked; what it has already had counts on."""
        limit = min(self.stream.acked + window, MAX_COUNT)
        if limit < self.limit:
            self._revoked = (self.stream.acked + self.held(now), now + REVOKE_S)
        self.limit = limit
