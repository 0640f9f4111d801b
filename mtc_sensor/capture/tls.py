"""TLS hellos in words, as `zeek-scripts/tls.zeek` has them.

The handshake is RFC 8446, section 4 (and RFC 5246, 7.4.1); values of RFC 8701 (GREASE), which
clients choose at random, give no words. Names that users chose are described by their shape.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

HANDSHAKE, CLIENT_HELLO, SERVER_HELLO = 22, 1, 2
_RECORD_HEADER, _HANDSHAKE_HEADER = 5, 4
_SERVER_NAME, _GROUPS, _ALPN = 0, 10, 16
_MAX_NAME = 128
_BLANK = re.compile(rb"[^!-~]")
_RETRY = hashlib.sha256(b"HelloRetryRequest").digest()


class _ShortError(Exception):
    """A length goes beyond what is there."""


class _Bytes:
    """Reads numbers and strings off a message. Raises _ShortError past its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise _ShortError
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "big")

    def string(self, length: int) -> bytes:
        """Read a string after its length, a number of `length` bytes."""
        return self.take(self.number(length))


def hello_words(record: bytes) -> list[str]:
    """Return the words of a TLS record that holds a client or server hello.

    `record` is whole, with its header. What is not such a record, or is cut or malformed, has none.
    """
    message = _Bytes(record[_RECORD_HEADER:])
    try:
        kind, body = message.number(1), _Bytes(message.string(3))
        if kind == CLIENT_HELLO:
            return _client_hello(body)
        return _server_hello(body) if kind == SERVER_HELLO else []
    except _ShortError:
        return []


def _client_hello(body: _Bytes) -> list[str]:
    version = body.number(2)
    body.take(32)
    body.string(1)
    ciphers = _numbers(body.string(2))
    body.string(1)
    words = [word for code, value in _extensions(body) for word in _client_extension(code, value)]
    return [*words, _word("tls_client", f"{version:x}"), *_listed("cipher", "ciphers", ciphers)]


def _client_extension(code: int, value: _Bytes) -> list[str]:
    words = [] if _is_grease(code) else [_word("ext", str(code))]
    if code == _GROUPS:
        words += _listed("group", "groups", _numbers(value.string(2)))
    elif code == _ALPN:
        words += _protocols("alpn", value)
    elif code == _SERVER_NAME and value.left:
        names = _Bytes(value.string(2))
        if names.number(1) == 0:
            words += name_words(names.string(2))
    return words


def _server_hello(body: _Bytes) -> list[str]:
    version, random = body.number(2), body.take(32)
    if random == _RETRY:
        return []
    body.string(1)
    cipher = body.number(2)
    body.take(1)
    words = []
    for code, value in _extensions(body):
        words += [] if _is_grease(code) else [_word("server_ext", str(code))]
        if code == _ALPN:
            words += _protocols("chosen_alpn", value)
    return [*words, _word("tls", f"{version:x}"), _word("chosen", f"{cipher:x}")]


def _extensions(body: _Bytes) -> Iterator[tuple[int, _Bytes]]:
    rest = _Bytes(body.string(2) if body.left else b"")
    while rest.left:
        yield rest.number(2), _Bytes(rest.string(2))


def _numbers(values: bytes) -> list[int]:
    return [int.from_bytes(values[at : at + 2], "big") for at in range(0, len(values) - 1, 2)]


def _is_grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def _word(prefix: str, value: str) -> str:
    return f"{prefix}:{value}"


def _text(raw: bytes) -> str:
    return _BLANK.sub(b"_", raw)[:_MAX_NAME].decode("ascii")


def _listed(prefix: str, order: str, values: Sequence[int]) -> list[str]:
    """Return a word for each value, one for their order and one for them in any order."""
    texts = [f"{value:x}" for value in values if not _is_grease(value)]
    words = [_word(prefix, text) for text in texts]
    return [*words, _digest(f"{order}_order", texts), _digest(f"{order}_set", sorted(texts))]


def _digest(prefix: str, texts: Sequence[str]) -> str:
    # MD5 as in JA3: a name for a list, which protects nothing.
    digest = hashlib.md5("-".join(texts).encode(), usedforsecurity=False)
    return _word(prefix, digest.hexdigest())


def _protocols(prefix: str, value: _Bytes) -> list[str]:
    names, words = _Bytes(value.string(2)), []
    while names.left:
        words.append(_word(prefix, _text(names.string(1))))
    return words


def name_words(name: bytes) -> list[str]:
    """Return the words of a server's name: its shape."""
    return [
        _word("sni_length", str(len(name) // 8 * 8)),
        _word("sni_labels", str(name.count(b".") + 1)),
        _word("sni_entropy", f"{_entropy(name) * 2:.0f}"),
    ]


def _entropy(name: bytes) -> float:
    """Return the bits per byte."""
    shares = [count / len(name) for count in Counter(name).values()]
    return -sum(share * math.log2(share) for share in shares)
