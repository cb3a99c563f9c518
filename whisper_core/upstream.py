"""openai-whisper's own parts that both engines use: a model's traits, its weights on a device, word timestamps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from whisper.model import Conv1d, Linear, Whisper
from whisper.timing import WordTiming, add_word_timestamps
from whisper.tokenizer import get_tokenizer

from whisper_core.model_requests import Align, ModelTraits, Tokenizer
from whisper_core.text.options import TaskKind
from whisper_core.text.transcript import Segment, Word

FindAlignment = Callable[..., list[WordTiming]]


def traits_of(model: Whisper) -> ModelTraits:
    """What the transcription algorithm has to know of the model. Holds its tokenizers, but not the model itself.

    The precision is that of openai-whisper on the model's device.
    """
    is_multilingual, num_languages, dims = model.is_multilingual, model.num_languages, model.dims

    @cache
    def tokenizer(language: str | None, task: TaskKind | None) -> Any:
        return get_tokenizer(is_multilingual, num_languages=num_languages, language=language, task=task)

    return ModelTraits(
        is_multilingual=is_multilingual,
        num_languages=num_languages,
        n_audio_ctx=dims.n_audio_ctx,
        n_text_ctx=dims.n_text_ctx,
        n_mels=dims.n_mels,
        precision="fp16" if matrix_dtype(model.device) is torch.float16 else "fp32",
        tokenizer=tokenizer,
    )


def matrix_dtype(device: torch.device) -> torch.dtype:
    """What matrices are computed in, as upstream does."""
    return torch.float16 if device.type == "cuda" else torch.float32


def place_on(model: Whisper, device: torch.device) -> Whisper:
    """The model on the device, in eval mode: fp32 on the CPU; on a GPU with fp16 matrices, as upstream computes there.

    model: on the CPU, so that a GPU never holds the weights twice.
    """
    model.eval()
    if matrix_dtype(device) is torch.float16:
        halve_matrices(model)
    return model.to(device)


def halve_matrices(model: Whisper) -> None:
    """Keep in fp16 the weights that upstream casts to fp16 at every call. The others are used in fp32 and stay so."""
    for module in model.modules():
        if isinstance(module, Linear | Conv1d):
            module.half()


def align_words(
    request: Align, model: Any, tokenizer: Tokenizer, mel: Tensor, find_alignment: FindAlignment | None = None
) -> tuple[Segment, ...]:
    """The request's segments with the times of their words, by openai-whisper's timing.py.

    model: a Whisper, or an object with the parts of one that timing.py uses. mel: (n_mels, 3000), for this model.
    find_alignment: in the place of timing.py's, for a model that finds it in another way.
    """
    add_times = add_word_timestamps if find_alignment is None else _adding_times_by(find_alignment)
    segments = [segment.to_dict() for segment in request.segments]
    threads = torch.get_num_threads()
    try:
        add_times(
            segments=segments,
            model=model,
            tokenizer=tokenizer,
            mel=mel,
            num_frames=request.num_frames,
            last_speech_timestamp=request.last_speech_timestamp,
        )
    finally:
        # timing.py uses numba, which shares OpenMP with torch and sets its own number of threads.
        torch.set_num_threads(threads)
    return tuple(_aligned_segment(segment) for segment in segments)


def _adding_times_by(find_alignment: FindAlignment) -> Callable[..., None]:
    """The same function with another one in its module's place: timing.py has no argument for it."""
    names = {**add_word_timestamps.__globals__, "find_alignment": find_alignment}
    function = FunctionType(add_word_timestamps.__code__, names)
    function.__kwdefaults__ = add_word_timestamps.__kwdefaults__
    return function


def _aligned_segment(fields: dict[str, Any]) -> Segment:
    """A segment as timing.py leaves it: with words, and with numpy's numbers in place of Python's."""
    words = tuple(
        Word(word["word"], float(word["start"]), float(word["end"]), float(word["probability"]))
        for word in fields["words"]
    )
    times = {"start": float(fields["start"]), "end": float(fields["end"])}
    return Segment(**{**fields, **times, "tokens": tuple(fields["tokens"]), "words": words})
