"""numba, typed: the one place where the project meets the compiler."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def njit(function: F) -> F:
    """Compile `function` in nopython mode; the machine code is cached beside the source.

    For scans that are inherently sequential: everything else is vectorised numpy. What it calls
    from other modules must lie in private modules (``_*.py``) of the same folder.
    """
    # numba's cache looks at the function's own file only; a change of what was compiled into it
    # must not leave old code in use.
    digest = _digest_of_private_modules(Path(function.__code__.co_filename).parent)
    function.__qualname__ += f"-{digest}"
    return cast(F, numba.njit(cache=True, nogil=True)(function))


@cache
def _digest_of_private_modules(folder: Path) -> str:
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("_*.py")))
    return hashlib.sha256(sources).hexdigest()[:12]


def inner(function: F) -> F:
    """Compile `function` for compiled callers only; its code is cached as part of theirs.

    It has no entry from Python and counts no references, which for functions that take many arrays
    halves the time of compilation and takes most of the cost of a call. So it must create no arrays
    other than views, nor keep or return any.
    """
    return cast(F, numba.njit(**_INNER)(function))


def inline(function: F) -> F:
    """Compile `function` like `inner`, into each of its callers: for what is called per packet."""
    return cast(F, numba.njit(forceinline=True, **_INNER)(function))


_INNER: dict[str, Any] = {
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
