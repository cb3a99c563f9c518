"""How long a recording and the loading of a model will take: measured, or guessed until they are."""

from __future__ import annotations

from threading import Lock

from optimizer.timing.speeds import SpeedTable
from whisper_core.models.registry import ModelRegistry

# The guess while no model was ever measured: parameters divided by this are the real-time factor. tiny, with 39 million
# of them, gets 0.1, as on two CPU cores. Until there are measurements only the order of the models matters. An int8
# model counts as the one whose weights it has: how much faster it is depends on the processor, and one window shows it.
_PARAMETERS_PER_SECOND = 390e6
_LOADED_BYTES_PER_SECOND = 400e6


class RuntimeEstimates:
    """Any thread. Work is counted on the fastest device that was measured; `refresh` takes in new measurements."""

    def __init__(self, speeds: SpeedTable, models: ModelRegistry | None = None) -> None:
        """models: the server's; without one, openai-whisper's."""
        self._speeds = speeds
        self._models = models or ModelRegistry()
        self._lock = Lock()
        self._real_time_factors: dict[str, float] = {}  # seconds of work per second of sound, by model
        self._loads: dict[str, float] = {}  # seconds, by model

    def refresh(self) -> None:
        with self._lock:
            self._real_time_factors.clear()

    def work_seconds(self, model: str, audio_seconds: float) -> float:
        """What so much sound takes one task beside whatever else runs."""
        factor = self._real_time_factors.get(model)
        if factor is None:
            factor = self._real_time_factor(model)
            with self._lock:
                self._real_time_factors[model] = factor
        return audio_seconds * factor

    def eta_seconds(self, model: str, device: str, audio_seconds: float, concurrency: int) -> float:
        """Until so much sound is done on a device that runs `concurrency` tasks meanwhile."""
        eta = self._speeds.running_eta(model, device, audio_seconds, concurrency)
        return self.work_seconds(model, audio_seconds) if eta is None else eta

    def load_seconds(self, model: str) -> float:
        """What loading the model took the last time."""
        measured = self._loads.get(model)
        return self._models.known(model).size_bytes / _LOADED_BYTES_PER_SECOND if measured is None else measured

    def record_load(self, model: str, seconds: float) -> None:
        self._loads[model] = seconds

    def forget(self, model: str) -> None:
        """Its files are others than they were."""
        self._loads.pop(model, None)
        self.refresh()

    def _real_time_factor(self, model: str) -> float:
        """By its own speed; else by other models', in proportion to their parameters; else a guess."""
        speeds = self._speeds.fastest()
        if (speed := speeds.get(model)) is not None:
            return 1 / speed
        parameters = self._models.known(model).parameters
        others = ((self._models.last_known(other), speed) for other, speed in speeds.items())
        scaled = [parameters / other.parameters / speed for other, speed in others if other is not None]
        return sum(scaled) / len(scaled) if scaled else parameters / _PARAMETERS_PER_SECOND
