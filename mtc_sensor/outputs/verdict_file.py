"""Verdicts as JSON lines in a file that outlives the process: what a sensor keeps for itself."""

from __future__ import annotations

import logging
from pathlib import Path

from mtc_sensor.errors import OutputError
from mtc_sensor.outputs.line_file import LineFile
from mtc_sensor.outputs.zeek_log import verdict_json
from mtc_sensor.verdict import Verdicts

logger = logging.getLogger(__name__)


class VerdictFile:
    """Lines of `mtc.log` in Zeek's JSON format, appended.

    A file that cannot be opened raises OutputError. One that can no longer be written to is given
    up, with an error in the log, until `reopen`: verdicts still go to Zeek.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: LineFile | None = LineFile(path, keep=True)
        self.unwritten = 0
        """Verdicts that found no place in the file."""

    def write(self, verdicts: Verdicts) -> None:
        """Append verdicts."""
        if self._file is not None:
            try:
                self._file.append(verdict_json(verdicts))
            except OutputError as fault:
                logger.error("%s; then send SIGHUP", fault)
                self._file = None
        if self._file is None:
            self.unwritten += len(verdicts)

    def reopen(self) -> None:
        """Open the file anew: it may have been moved away. Raises OutputError."""
        self.close()
        self._file = LineFile(self._path, keep=True)

    def close(self) -> None:
        """Close the file; a second time it does nothing."""
        if self._file is not None:
            self._file.close()
        self._file = None
