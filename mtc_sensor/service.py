"""`mtc-sensor run`: a configuration made into a running sensor."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable

from mtc_sensor.batching import Batcher
from mtc_sensor.config import SensorConfig
from mtc_sensor.errors import MtcError
from mtc_sensor.inference import load_models, settings_for
from mtc_sensor.judging import SampleJudge
from mtc_sensor.measures import Measures
from mtc_sensor.metrics import MetricsServer
from mtc_sensor.models.bundle import find_bundles
from mtc_sensor.outputs.verdict_file import VerdictFile
from mtc_sensor.sensor import Judge, Sensor
from mtc_sensor.streams import Streams
from mtc_sensor.transports.base import Inbox
from mtc_sensor.transports.factory import make_transport
from mtc_sensor.verdict import Verdicts

logger = logging.getLogger(__name__)


class Service:
    """Everything that `config` names, loaded and opened; nothing is connected before `run`.

    Raises MtcError, naming the key or the file, for what cannot be used.
    """

    def __init__(self, config: SensorConfig) -> None:
        self._config = config
        self._measures = Measures()
        self._file = None if config.verdicts is None else VerdictFile(config.verdicts)
        self._judge = self._load()
        inbox = Inbox()
        self._transport = make_transport(config.transport, config.shards, inbox)
        self._sensor = Sensor(
            Streams(config.name, config.shards),
            self._transport,
            inbox,
            self._judge,
            Batcher(config.batch, config.overload),
            self._measures,
        )
        self._metrics: MetricsServer | None = None
        if config.metrics is not None:
            self._metrics = MetricsServer(self._measures, config.metrics.host, config.metrics.port)

    def run(self, stop: Callable[[], bool]) -> None:
        """Judge until `stop` says so. Raises ConfigError if metrics cannot be served."""
        try:
            if self._metrics is not None:
                self._metrics.start()
            gc.collect()
            gc.freeze()  # what is there now stays: a collection need not walk through it each time
            self._sensor.run(stop)
        finally:
            gc.unfreeze()
            self.close()

    def reload(self) -> None:
        """Load the bundles anew, and open the file of verdicts anew, between two batches.

        What cannot be loaded is logged, and the models that are there stay.
        """
        self._sensor.reload(self._load_or_keep)

    def close(self) -> None:
        """Disconnect, if connected, and close the file."""
        self._transport.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._file is not None:
            self._file.close()

    def _load(self) -> Judge:
        config = self._config
        names = config.models or tuple(find_bundles())
        models = load_models(names, config.device, config.threads)
        versions = {model.name: model.bundle.config.version for model in models}
        logger.info("models", extra={"fields": versions})
        if settings_for(models).tokens:
            logger.info(
                "there are models that read tokens: Zeek sends them if told to `@load "
                "mtc-sensor/tls`"
            )
        self._measures.models(versions)
        also = None if self._file is None else self._write
        judge = SampleJudge(config.name, models, also, measures=self._measures)
        judge.warm_up()
        return judge

    def _write(self, verdicts: Verdicts) -> None:
        assert self._file is not None
        self._file.write(verdicts)
        self._sensor.counts["verdicts_not_in_file"] = self._file.unwritten

    def _load_or_keep(self) -> Judge:
        try:
            if self._file is not None:
                self._file.reopen()
            self._judge = self._load()
        except MtcError as fault:
            logger.error("reload: %s: what was loaded before stays", fault)
        return self._judge
