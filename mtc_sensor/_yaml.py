"""YAML files that people write, read into strict models; errors name file, key and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mtc_sensor.errors import MtcError

Model = TypeVar("Model", bound=BaseModel)

_DEEPEST = 32
"""Brackets in brackets: beyond, the scanner's time grows with the square."""


class _Loader(yaml.SafeLoader):
    """Plain data only: no tags, no aliases (which can blow up), no deep nesting, no key twice."""

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > _DEEPEST:
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is given twice", node.start_mark
            )
        return mapping


def load_yaml(
    path: Path, model: type[Model], error: type[MtcError], max_bytes: int = 1 << 16
) -> Model:
    """Read the mapping in `path` into `model`.

    Raises `error`, naming the file and the key or line, for a file that cannot be read or is larger
    than `max_bytes`, for what is not plain YAML, and for what `model` refuses.
    """
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
    except OSError as fault:
        raise error(f"{path}: {fault.strerror}") from fault
    if len(text) > max_bytes:
        raise error(f"{path}: larger than {max_bytes} bytes: not a file of this kind")
    try:
        return model.model_validate(yaml.load(text, _Loader))  # noqa: S506 (a SafeLoader)
    except ValidationError as fault:
        told = [f"line {_line(text, at)}: {what}" for at, what in _explain(fault, model)]
        raise error(f"{path}: " + "; ".join(told)) from fault
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise error(f"{path}: not valid YAML: {_one_line(fault)}") from fault


def nearest(key: str, known: Iterable[str]) -> str:
    """Say what was probably meant: `` (did you mean x?)``, or the keys that exist."""
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"


def _explain(
    fault: ValidationError, model: type[BaseModel]
) -> Iterable[tuple[tuple[int | str, ...], str]]:
    """Yield where something is wrong, and what."""
    for item in fault.errors(include_url=False)[:5]:
        key = ".".join(str(part) for part in item["loc"]) or "(top)"
        if item["type"] == "extra_forbidden":
            owner = _model_at(model, item["loc"][:-1])
            what = f"unknown key {key}: {nearest(str(item['loc'][-1]), owner.model_fields)}"
        elif item["type"] == "missing":
            what = f"key {key} is missing: add it"
        elif item["type"] == "value_error":
            what = item["msg"].removeprefix("Value error, ")
        else:
            what = f"{key}: {item['msg']}, not {str(item['input'])[:60]!r}"
        yield item["loc"], what


def _line(text: bytes, loc: tuple[int | str, ...]) -> int:
    """Return the line of what `loc` leads to, or of the last part of it that is there."""
    node = yaml.compose(text, _Loader)
    line = 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            found = (node.value[part], node.value[part])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model that the keys of `loc` lead to."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        kinds = [field.annotation, *get_args(field.annotation)]
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), model)
    return model


def _one_line(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:300] or "nested too deeply"
