"""Messages arrive as they were sent, and a segment that was sent before is not written again."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from unittest import mock

import pytest

from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult, Word
from whisper_core.worker import messages
from whisper_core.worker.messages import Heartbeat, MemoryReport, TaskDone, WindowDone, WrittenSegments

FIRST = Segment(0, 0, 0.0, 4.5, ' "Größe" }]}\n', (50363, 11, 50588), 0.2, -0.25, 1.5, 0.01)
SECOND = replace(FIRST, id=1, start=4.5, end=7.0, text="你好", words=(Word(" a", 4.5, 5.0, 0.5),), speaker="S1")
CHECKPOINT = Checkpoint("de", 700, 700)


def window(index: int, *segments: Segment) -> WindowDone:
    return WindowDone("task", "attempt", WindowResult(index, segments, CHECKPOINT))


def done(*segments: Segment) -> TaskDone:
    return TaskDone("task", "attempt", Transcript(' "Größe" }]}', "de", segments, "fp32"), 7, 1.5, "no network")


@pytest.mark.parametrize("report", [window(3), window(0, FIRST, SECOND), done(), done(FIRST, SECOND)])
def test_a_report_with_segments_is_the_same_whether_they_were_written_before_or_not(
    report: WindowDone | TaskDone,
) -> None:
    written = WrittenSegments()
    assert messages.decode(messages.encode(report)) == report
    assert messages.decode(messages.encode(report, written)) == report
    assert messages.encode(report, written) == messages.encode(report, written)


THIRD, FOURTH = (replace(FIRST, id=number, text=f"{number}") for number in (2, 3))


@pytest.mark.parametrize(
    "segments",
    [
        (FIRST, SECOND, THIRD, FOURTH),
        (replace(FIRST, text="before"), FIRST, SECOND, THIRD, FOURTH),  # as after a restart
        (FIRST, SECOND, replace(FIRST, text="another"), THIRD),
        (FIRST, replace(SECOND, text="changed"), THIRD, FOURTH),
        (SECOND, FIRST),
        (THIRD,),
        (replace(FIRST), replace(SECOND)),
    ],
)
def test_a_transcript_has_its_own_segments_whichever_its_windows_had(segments: tuple[Segment, ...]) -> None:
    written = WrittenSegments()
    for number, ones in enumerate(((FIRST, SECOND), (), (THIRD, FOURTH))):
        messages.encode(window(number, *ones), written)
    for _ in range(2):
        assert messages.decode(messages.encode(done(*segments), written)) == done(*segments)


def test_a_segment_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = WrittenSegments()
    messages.encode(window(0, FIRST, SECOND), written)
    messages.encode(window(1, THIRD), written)
    encoded = mock.Mock(side_effect=messages._ENCODER.encode)
    monkeypatch.setattr(messages, "_ENCODER", mock.Mock(encode=encoded))
    messages.encode(done(FIRST, SECOND, THIRD, FOURTH), written)
    (own,), (others,) = (call.args for call in encoded.call_args_list)
    assert own == (FOURTH,)
    assert "segments" not in others["transcript"]


def test_what_is_no_window_is_left_to_the_server_to_refuse() -> None:
    """An engine may be somebody else's."""
    report = WindowDone("task", "attempt", cast(WindowResult, {"index": 0}))
    data = messages.encode(report, WrittenSegments())
    assert data == messages.encode(report)
    with pytest.raises(KeyError):
        messages.decode(data)


def test_other_messages_need_no_segments() -> None:
    heartbeat = Heartbeat(MemoryReport(1, 2))
    assert messages.decode(messages.encode(heartbeat, WrittenSegments())) == heartbeat
