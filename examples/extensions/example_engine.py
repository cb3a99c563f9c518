"""An engine: it writes down how loud each window is. It shows what an engine has to do, without a model."""

from array import array
from collections.abc import Callable
from pathlib import Path

from whisper_core.reference.sequential_engine import SequentialEngine
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult
from whisper_core.worker.engine_spec import EngineSpec, MemoryNeeds
from whisper_core.worker.messages import MemoryReport, RunTask

FRAMES = 3000  # of 10 ms in a window of 30 s
SAMPLES = 160  # in a frame


class LoudnessEngine(SequentialEngine):
    def __init__(self, device: str, cpu_threads: int) -> None:
        super().__init__()
        self.title = f"an example on {device}"

    def load(self, model: str, models_dir: Path) -> int:
        return 1_000_000  # bytes that it takes

    def unload(self, model: str) -> None:
        pass

    def memory(self) -> MemoryReport:
        return MemoryReport(used=0, peak=0)

    def task_peak_bytes(self) -> int:
        return 0  # not measured

    def run(
        self, command: RunTask, on_window: Callable[[WindowResult], None], should_stop: Callable[[], bool]
    ) -> Transcript | None:
        samples = array("h", Path(command.audio_path).read_bytes())
        total = len(samples) // SAMPLES
        segments = list(command.segments)  # those of an earlier attempt, which ended at `resume`
        first = command.resume.seek if command.resume else 0
        for index, seek in enumerate(range(first, total, FRAMES), command.first_window):
            if should_stop():
                return None
            end = min(seek + FRAMES, total)
            loudest = max(map(abs, samples[seek * SAMPLES : end * SAMPLES]))
            segments.append(segment(len(segments), seek, end, f" At most {loudest / 327.68:.0f} %."))
            on_window(WindowResult(index, (segments[-1],), Checkpoint("en", end, total)))
        return Transcript("".join(each.text for each in segments), "en", tuple(segments))


def segment(number: int, seek: int, end: int, text: str) -> Segment:
    return Segment(
        id=number,
        seek=seek,
        start=seek / 100,
        end=end / 100,
        text=text,
        tokens=(),
        temperature=0.0,
        avg_logprob=0.0,
        compression_ratio=1.0,
        no_speech_prob=0.0,
    )


LOUDNESS = EngineSpec(
    "example_engine:LoudnessEngine",
    memory=lambda model, kind: MemoryNeeds(weights=1_000_000, task=5_000_000, second=32_000),
)
