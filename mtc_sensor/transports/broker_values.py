"""Values as Zeek's Broker bindings have them, from and to ours."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from mtc_sensor.errors import WireError
from mtc_sensor.wire.values import Timestamp, Value, check_depth, vector_items


def to_broker(value: Value, bindings: ModuleType) -> Any:
    """Turn what the MTC events hold into what the bindings take. Raises WireError."""
    items = vector_items(value)
    if items is not None:
        return [to_broker(item, bindings) for item in items]
    if type(value) is int:
        return bindings.Count(value)
    if isinstance(value, float | bytes):
        return value
    raise WireError(f"a {type(value).__name__} has no place in an MTC event")


def from_broker(data: Any, depth: int = 0) -> Value:
    """Turn the bindings' data into values. Raises WireError for what no MTC event holds."""
    check_depth(depth)
    kind = data.get_type().name
    if kind == "Vector":
        items = tuple([from_broker(item, depth + 1) for item in data.as_vector()])
        if items and all(type(item) is int for item in items):
            return np.array(items, np.uint64)
        return items
    reader = _READERS.get(kind)
    if reader is None:
        raise WireError(f"a {kind} has no place in an MTC event")
    return reader(data)


_READERS: dict[str, Callable[[Any], Value]] = {
    "Count": lambda data: int(data.as_count()),
    "Real": lambda data: float(data.as_real()),
    "String": lambda data: bytes(data.as_string()),
    "Timestamp": lambda data: Timestamp(round(data.as_timestamp() * 1e9)),
}
