"""Everything that verdicts are written to, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mtc_sensor.errors import OutputError
from mtc_sensor.outputs.ecs import EcsLog
from mtc_sensor.outputs.notice import NoticeSuppressor, notice_columns
from mtc_sensor.outputs.zeek_log import MTC_LOG, NOTICE_LOG, ZeekLog, verdict_columns
from mtc_sensor.verdict import Verdicts

NAMES = ("mtc.log", "notice.log", "ecs.ndjson")


class VerdictLogs:
    """`mtc.log` and `notice.log` in a folder, and `ecs.ndjson` if asked for; a context manager.

    Without a folder, only notices are told apart from repeats. Raises OutputError where something
    cannot be written, and where a log would be overwritten without `force`.
    """

    def __init__(
        self,
        folder: Path | None,
        suppressor: NoticeSuppressor,
        *,
        json: bool = False,
        ecs: bool = False,
        force: bool = False,
    ) -> None:
        self._suppressor = suppressor
        self._stack = ExitStack()
        self._mtc: ZeekLog | None = None
        self._notice: ZeekLog | None = None
        self._ecs: EcsLog | None = None
        if folder is not None:
            prepare_folder(folder, NAMES, force)
            with ExitStack() as stack:  # a log that cannot be opened closes those before it
                self._mtc = stack.enter_context(ZeekLog(folder / NAMES[0], MTC_LOG, json=json))
                self._notice = stack.enter_context(
                    ZeekLog(folder / NAMES[1], NOTICE_LOG, json=json)
                )
                if ecs:
                    self._ecs = stack.enter_context(EcsLog(folder / NAMES[2]))
                self._stack = stack.pop_all()

    def write(self, verdicts: Verdicts) -> Verdicts:
        """Write verdicts and their notices; return the verdicts of which a notice was due."""
        due = self._suppressor.due(verdicts)
        if self._mtc is not None:
            self._mtc.write(verdict_columns(verdicts))
        if self._notice is not None and len(due):
            self._notice.write(notice_columns(due, self._suppressor.suppress_for_s))
        if self._ecs is not None:
            self._ecs.write(verdicts)
        return due

    def __enter__(self) -> VerdictLogs:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def prepare_folder(folder: Path, names: Sequence[str], force: bool) -> list[Path]:
    """Make a folder for logs; return those of `names`, or of such patterns, that are there already.

    Raises OutputError if it cannot be made, or if any are there, but with `force`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made: {error.strerror}; choose another --out"
        ) from error
    present = [path for name in names for path in sorted(folder.glob(name))]
    if present and not force:
        raise OutputError(
            f"{present[0]}: already there; choose another --out, or --force to overwrite"
        )
    return present
