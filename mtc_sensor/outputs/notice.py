"""Notices: what an analyst is told of malicious verdicts, once per hour and matter.

Source: Zeek 8.2, scripts/base/frameworks/notice/main.zeek.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import address_texts
from mtc_sensor.outputs.zeek_format import Column
from mtc_sensor.outputs.zeek_log import KINDS, conn_columns, protocols
from mtc_sensor.verdict import Verdicts

NOTE = "MTC::Malicious_Flow"
SUPPRESS_FOR_S = 3600.0
"""Zeek's ``Notice::default_suppression_interval``, seconds."""


def identifiers(verdicts: Verdicts) -> list[str]:
    """Return what makes two notices the same: originator, responder, its port, and label.

    One host that a model accuses of the same thing towards the same service is one matter, however
    many connections it takes and whichever model says so.
    """
    return [f"{orig}-{resp}-{port}-{label}" for orig, resp, port, label in _matters(verdicts)]


def notice_columns(verdicts: Verdicts, suppress_for_s: float = SUPPRESS_FOR_S) -> dict[str, Column]:
    """Return malicious verdicts as the columns of `NOTICE_LOG`.

    `suppress_for_s` is what the notices say of their own suppression, seconds.
    """
    count = len(verdicts)
    return conn_columns(verdicts) | {
        "note": [NOTE] * count,
        "msg": messages(verdicts),
        "sub": _evidence(verdicts),
        "src": verdicts.orig_h,
        "dst": verdicts.resp_h,
        "p": verdicts.resp_p,
        "actions": [("Notice::ACTION_LOG",)] * count,
        "email_dest": [()] * count,
        "suppress_for": [round(suppress_for_s * 1e6)] * count,
    }


def messages(verdicts: Verdicts) -> list[str]:
    """Say in one sentence who is accused of what by which model, and how surely."""
    says = zip(verdicts.model.tolist(), verdicts.score.tolist(), strict=True)
    return [
        f"{orig} talks to {resp} port {port} like {label}: model {model} gives malicious traffic a "
        f"probability of {score:.3f}"
        for (orig, resp, port, label), (model, score) in zip(_matters(verdicts), says, strict=True)
    ]


def _matters(verdicts: Verdicts) -> Iterator[tuple[str, str, str, str]]:
    """Originator, responder, its port as in ``443/tcp``, and label of each verdict."""
    numbers = zip(verdicts.resp_p.tolist(), protocols(verdicts.proto), strict=True)
    return zip(
        address_texts(verdicts.orig_h),
        address_texts(verdicts.resp_h),
        [f"{number}/{proto}" for number, proto in numbers],
        verdicts.label.tolist(),
        strict=True,
    )


def _evidence(verdicts: Verdicts) -> list[str]:
    seconds = (verdicts.ts_us - verdicts.start_us) / 1e6
    parts = (
        KINDS[verdicts.kind].tolist(),
        verdicts.packets.tolist(),
        seconds.tolist(),
        verdicts.detail.tolist(),
    )
    return [
        f"{kind} record, {packets} packets in {span:.3f} s: {detail}"
        for kind, packets, span, detail in zip(*parts, strict=True)
    ]


class NoticeSuppressor:
    """Let a notice pass once per identifier and interval, in the time of the packets.

    As in Zeek, a repeat is suppressed and does not prolong the suppression, and an interval of 0
    suppresses nothing. Unlike in Zeek, time may jump back here, to the next capture of a replay: a
    notice that is older than the one that passed, by the interval or more, is no repeat of it.

    Parameters
    ----------
    suppress_for_s
        The interval, seconds.
    capacity
        How many identifiers are remembered; past it the longest remembered is forgotten.
    """

    def __init__(self, suppress_for_s: float = SUPPRESS_FOR_S, capacity: int = 100_000) -> None:
        self.suppress_for_s = suppress_for_s
        self.suppressed = 0
        """Notices that were repeats."""
        self.forgotten = 0
        """Identifiers that were forgotten before their time, for lack of capacity."""
        self._interval_us = round(suppress_for_s * 1e6)
        self._capacity = capacity
        self._passed: dict[str, int] = {}  # in the order of passing, hence nearly of expiry

    def __len__(self) -> int:
        """How many identifiers are remembered."""
        return len(self._passed)

    def due(self, verdicts: Verdicts) -> Verdicts:
        """Return the malicious verdicts of which a notice is due, counting the others of them."""
        malicious = verdicts.take(verdicts.malicious)
        passes = self._admit(identifiers(malicious), malicious.ts_us)
        self.suppressed += len(passes) - int(np.count_nonzero(passes))
        return malicious.take(passes)

    def _admit(self, names: Sequence[str], ts_us: NDArray[np.int64]) -> NDArray[np.bool_]:
        pairs = zip(names, ts_us.tolist(), strict=True)
        return np.fromiter((self._passes(name, ts) for name, ts in pairs), np.bool_, len(names))

    def _passes(self, name: str, ts_us: int) -> bool:
        if not self._interval_us:
            return True
        passed = self._passed.get(name)
        if passed is not None and abs(ts_us - passed) < self._interval_us:
            return False
        self._passed.pop(name, None)
        self._passed[name] = ts_us
        self._forget(ts_us)
        return True

    def _forget(self, now_us: int) -> None:
        """Drop what has expired, and the oldest beyond the capacity."""
        while True:
            name, passed = next(iter(self._passed.items()))
            expired = abs(now_us - passed) >= self._interval_us
            if not expired and len(self._passed) <= self._capacity:
                return
            del self._passed[name]
            self.forgotten += not expired
