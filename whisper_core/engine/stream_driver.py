"""Drives streams of requests: sends them answers, and answers at once what needs no queue."""

from __future__ import annotations

from functools import partial
from typing import Any

from errors import DeviceLostError
from whisper_core.engine.active_task import ActiveStream
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.memory_recovery import MemoryRecovery
from whisper_core.model_requests import Align, Decode, DetectLanguage, Encode
from whisper_core.text.transcript import WindowResult


class StreamDriver:
    """A task's own errors end that task. The engine's thread only; raises DeviceLostError."""

    def __init__(self, model: LoadedModel, recovery: MemoryRecovery) -> None:
        self._model = model
        self._recovery = recovery

    def advance_stream(self, stream: ActiveStream, answer: Any) -> None:
        """Send the answer, and go on until the stream waits for an encoding or a decoding, or has ended.

        answer: to the request that the stream waits for; None for a new stream.
        """
        try:
            while not stream.is_done:
                if isinstance(stream.request, DetectLanguage | Align):
                    answer = self._recovery.attempt(partial(self._answer, stream, stream.request), [stream])
                    if answer is None:
                        return  # its window is encoded again first, or its task has ended
                    stream.request = None
                step = stream.steps.send(answer)
                match step:
                    case WindowResult():
                        self._report(stream, step)
                        answer = None
                    case Encode() if _is_encoded(stream, step):
                        answer = stream.window
                    case Encode():
                        _start_window(stream, step)
                        return
                    case Decode():
                        stream.request = step
                        return
                    case DetectLanguage() | Align():
                        stream.request = step
        except StopIteration:
            stream.task.finish_stream(stream)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this task only
            stream.task.fail(error)

    def _report(self, stream: ActiveStream, window: WindowResult) -> None:
        task = stream.task
        task.observer.window(window)
        if task.observer.should_stop():
            task.stop()

    def _answer(self, stream: ActiveStream, request: DetectLanguage | Align) -> Any:
        if stream.window is None:
            raise RuntimeError("the stream has encoded no window")
        if isinstance(request, Align):
            return self._model.align(request, stream.window.cross)
        if stream.window.language is not None:
            return stream.window.language
        return self._model.detect_language(stream.window.cross)


def _is_encoded(stream: ActiveStream, request: Encode) -> bool:
    """Whether the stream's latest window is the one that is asked for: the first one, after its language was detected.

    In exact mode, a recording of less than 30 s has another window for that (`LogMel.opening`).
    """
    window = stream.window
    return window is not None and window.own_cross is not None and window.mel == request.mel


def _start_window(stream: ActiveStream, request: Encode) -> None:
    """The stream's next window, in place of the one before."""
    stream.give_up_window()
    stream.num_windows += 1
    stream.window = EncodedWindow(request.mel)
