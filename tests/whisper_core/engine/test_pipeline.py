"""Which windows are encoded and decoded next, without a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from unittest import mock

from tests.whisper_core.engine.driving import Observer
from whisper_core.engine.active_task import ActiveStream, ActiveTask
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.pipeline import WindowPipeline
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.engine.window_memory import CpuWindowMemory
from whisper_core.model_requests import DEFAULT_SETTINGS, Decode
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.messages import RunTask

EXACT = TranscribeOptions()
CHUNKED = TranscribeOptions(mode="vad")


def pipeline_with(slots: int = 4, encoder_batch: int = 2) -> tuple[WindowPipeline, SlotLimit]:
    limit = SlotLimit(slots, encoder_batch)
    memory = CpuWindowMemory(mock.Mock(), limit)
    cast(Any, memory).slot_batch = mock.Mock()
    return WindowPipeline(memory, limit), limit


def stream_of(options: TranscribeOptions = EXACT, *, best_of: int | None = None) -> ActiveStream:
    """A stream whose window is not encoded yet; it waits for a decoding with `best_of` samples at temperature 1."""
    task = ActiveTask(RunTask("a", "a", "tiny.en", "", options), Observer())
    stream = ActiveStream(task, mock.Mock(), EncodedWindow(cast(Any, None)))
    settings = replace(DEFAULT_SETTINGS, best_of=best_of)
    stream.request = Decode(stream.window, (), "en", "transcribe", 1.0, 0, settings)
    task.streams.append(stream)
    return stream


def encoded(stream: ActiveStream) -> ActiveStream:
    assert stream.window is not None
    stream.window.own_cross = mock.Mock()
    return stream


def test_windows_of_exact_tasks_are_encoded_first() -> None:
    pipeline, _ = pipeline_with()
    chunked, first, second = stream_of(CHUNKED), stream_of(), stream_of()
    for stream in (chunked, first, second):
        pipeline.enqueue(stream)
    assert pipeline.start_encoding() == [first, second]
    assert pipeline.start_encoding() == [chunked]


def test_no_more_windows_are_encoded_than_will_soon_find_a_slot() -> None:
    pipeline, _ = pipeline_with(slots=4, encoder_batch=2)
    for _ in range(10):
        pipeline.enqueue(stream_of())
    batches = []
    while batch := pipeline.start_encoding():
        batches.append(len(batch))
    assert batches == [2, 2, 2]
    assert (pipeline.num_in_flight, pipeline.num_to_encode) == (6, 0)


def test_nothing_is_encoded_ahead_when_memory_was_enough_for_one_window() -> None:
    pipeline, limit = pipeline_with()
    limit.shrink(in_flight=2)
    for _ in range(3):
        pipeline.enqueue(stream_of())
    assert len(pipeline.start_encoding()) == 1
    assert pipeline.num_to_encode == 0


def test_of_a_preempted_task_only_chunks_that_were_started_are_encoded() -> None:
    pipeline, _ = pipeline_with()
    exact, new_chunk, started_chunk = stream_of(), stream_of(CHUNKED), stream_of(CHUNKED)
    started_chunk.was_started = True
    for stream in (exact, new_chunk, started_chunk):
        stream.task.is_preempted = True
        pipeline.enqueue(stream)
    assert pipeline.start_encoding() == [started_chunk]
    assert [pipeline.is_working_on(stream.task) for stream in (exact, new_chunk, started_chunk)] == [False, False, True]


def test_a_stream_waits_in_one_stage_once() -> None:
    pipeline, _ = pipeline_with()
    stream, stopped = stream_of(), stream_of()
    stopped.task.stop()
    for each in (stream, stream, stopped):
        pipeline.enqueue(each)
    assert pipeline.start_encoding() == [stream]
    pipeline.finish_encoding([stream])
    pipeline.enqueue(encoded(stream))
    assert pipeline.next_for_free_slot() is stream
    assert pipeline.next_for_free_slot() is None


def test_a_slot_goes_to_the_first_window_that_fits_into_it() -> None:
    pipeline, _ = pipeline_with()
    narrow, wide, other_wide = stream_of(), stream_of(best_of=3), stream_of(best_of=3)
    for stream in (narrow, wide, other_wide):
        pipeline.enqueue(encoded(stream))
    batch = mock.Mock(kind=SlotKind(3))
    assert [pipeline.next_for_slot_of(batch) for _ in range(3)] == [wide, other_wide, None]
    assert pipeline.next_for_free_slot() is narrow


def test_what_is_taken_back_is_in_no_stage() -> None:
    pipeline, _ = pipeline_with()
    in_slot, waiting, encoding = stream_of(), encoded(stream_of()), stream_of()
    pipeline.enqueue(encoding)
    assert pipeline.start_encoding() == [encoding]
    pipeline.enqueue(waiting)
    batch = pipeline.slot_batch(SlotKind())
    cast(Any, batch).sequences = [mock.Mock(owner=in_slot)]
    cast(Any, batch).kind = SlotKind()
    assert pipeline.num_in_flight == 3
    assert pipeline.take_back() == [in_slot, waiting]
    assert not pipeline.holds(batch)
    assert pipeline.num_in_flight == pipeline.num_encoding == 1
