"""How far a recording is by its checkpoint."""

from __future__ import annotations

import pytest

from whisper_core.text.transcript import Checkpoint


@pytest.mark.parametrize(
    ("seek", "content_frames", "expected"),
    [
        (0, 4000, (0.0, 0.0, False)),
        (3000, 4000, (30.0, 0.75, False)),
        (4000, 4000, (40.0, 1.0, True)),
        (6000, 4000, (40.0, 1.0, True)),  # the last window's 30 s reach beyond the recording
        (0, 0, (0.0, 1.0, True)),
    ],
)
def test_a_checkpoint_tells_how_far_its_recording_is(
    seek: int, content_frames: int, expected: tuple[float, float, bool]
) -> None:
    checkpoint = Checkpoint("en", seek, content_frames)
    assert (checkpoint.audio_done_seconds, checkpoint.progress, checkpoint.is_at_end) == expected
