"""What the sensor says of itself, on standard error: a line per event, as text or as JSON."""

from __future__ import annotations

import json
import logging
import time

from mtc_sensor.config import LogConfig


def set_up_logging(config: LogConfig) -> None:
    """Send the package's log records to standard error, as `config` says."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if config.format == "json" else _Text())
    logger = logging.getLogger("mtc_sensor")
    logger.handlers = [handler]
    logger.setLevel(config.level.upper())
    logger.propagate = False


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


def _time(record: logging.LogRecord) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{stamp}.{int(record.msecs):03d}Z"


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        return f"{_time(record)} {record.levelname.lower()} {record.getMessage()}{fields}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps({**head, **_fields(record)}, default=str)
