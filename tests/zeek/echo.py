"""`mtc-sensor run` without models, so that it starts at once: every sample gets one verdict.

It ends on SIGTERM and prints what became of all samples as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from mtc_sensor.config import TransportConfig
from mtc_sensor.sensor import Judge, Sensor
from mtc_sensor.streams import Streams
from mtc_sensor.transports.base import Inbox
from mtc_sensor.transports.factory import make_transport
from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.records import Records

MODEL = "echo"


def judge(parts: Sequence[Records], strain: float = 0.0) -> Iterator[list[list[Verdict]]]:
    """Return one verdict for each sample."""
    yield [
        [
            Verdict("echo", *identity, MODEL, "benign", 0.5, 0, "")
            for identity in records.identities(range(len(records)))
        ]
        for records in parts
    ]


def make_sensor(
    config: TransportConfig,
    inbox: Inbox | None = None,
    judge: Judge = judge,
) -> Sensor:
    """Return a sensor of shard 0 over the transport of `config`."""
    inbox = Inbox() if inbox is None else inbox
    transport = make_transport(config, [0], inbox)
    return Sensor(Streams("echo", [0]), transport, inbox, judge)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a TransportConfig as JSON")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that a sample takes")
    options = parser.parse_args()
    ends = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ends.set())

    def slowly(parts: Sequence[Records], strain: float) -> Iterator[list[list[Verdict]]]:
        time.sleep(options.slow * sum(map(len, parts)))
        return judge(parts)

    sensor = make_sensor(
        TransportConfig.model_validate_json(options.config.read_bytes()), judge=slowly
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sensor.run(ends.is_set)
    json.dump(asdict(sensor.totals) | {"dropped": sensor.dropped}, sys.stdout)


if __name__ == "__main__":
    main()
