"""How long a device has to do with a recording and with loading a model: measured, or guessed until it is."""

from __future__ import annotations

from threading import Lock

from optimizer.timing.speeds import SpeedTable
from whisper_core.models.catalogue import model_info

# A model's parameters by this is what a model that was never measured is taken to need for a second of sound: tiny,
# with its 39 million, a tenth of a second, as on two CPU cores. Only the order of models matters until there is more.
_PARAMETERS_PER_SECOND = 390e6
_LOADED_BYTES_PER_SECOND = 400e6


class RuntimeEstimates:
    """Any thread. Work is that of the fastest device that was measured; `refresh` takes in what was measured since."""

    def __init__(self, speeds: SpeedTable) -> None:
        self._speeds = speeds
        self._lock = Lock()
        self._pace: dict[str, float] = {}  # seconds of work in a second of sound
        self._loads: dict[str, float] = {}

    def refresh(self) -> None:
        with self._lock:
            self._pace.clear()

    def work_seconds(self, model: str, audio_seconds: float) -> float:
        """Of so much sound, beside whatever else runs. Raises UnknownModelError."""
        pace = self._pace.get(model)
        if pace is None:
            pace = self._measured_pace(model)
            with self._lock:
                self._pace[model] = pace
        return audio_seconds * pace

    def eta_seconds(self, model: str, device: str, audio_seconds: float, concurrency: int) -> float:
        """Until so much sound is done on a device that has `concurrency` tasks meanwhile. Raises UnknownModelError."""
        eta = self._speeds.running_eta(model, device, audio_seconds, concurrency)
        return self.work_seconds(model, audio_seconds) if eta is None else eta

    def load_seconds(self, model: str) -> float:
        """Of making it resident, as measured last. Raises UnknownModelError."""
        measured = self._loads.get(model)
        return model_info(model).size_bytes / _LOADED_BYTES_PER_SECOND if measured is None else measured

    def record_load(self, model: str, seconds: float) -> None:
        self._loads[model] = seconds

    def _measured_pace(self, model: str) -> float:
        """By its own speed; else by another model's, in proportion to their parameters; else a guess."""
        speeds = self._speeds.fastest()
        if (speed := speeds.get(model)) is not None:
            return 1 / speed
        parameters = model_info(model).parameters
        scaled = [parameters / model_info(other).parameters / speed for other, speed in speeds.items()]
        return sum(scaled) / len(scaled) if scaled else parameters / _PARAMETERS_PER_SECOND
