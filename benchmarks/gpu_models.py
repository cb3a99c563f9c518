"""Models of real dimensions and random weights, as the parts of the measurements on a GPU load them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import Mock

import torch
from whisper.model import Whisper

from benchmarks.gpu_part import Part
from benchmarks.gpu_timeline import TRIAL_ENCODER_BATCH, TRIAL_SLOTS, wait_for_device
from benchmarks.random_model import random_model
from whisper_core.common.slots import SLOTS
from whisper_core.common.units import WINDOW_FRAMES
from whisper_core.engine.batch_engine import ENCODER_BATCH, BatchEngine
from whisper_core.engine.cuda_window_memory import CudaWindowMemory
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.executors import DECODER_PRIORITY, new_cuda_stream, on_cuda_stream
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.slot_limit import SlotLimit
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.model_requests import DEFAULT_SETTINGS, Decode
from whisper_core.models.catalogue import model_info
from whisper_core.upstream import place_on

TOKENS_PER_WINDOW = 100  # about what a window of speech has
TRIAL_TOKENS_PER_WINDOW = 5
TRIAL_STATE = 64


def trial_dimensions() -> ModelDimensions:
    """Whisper's vocabulary and positions in a narrow and shallow network."""
    small = {"n_audio_state": TRIAL_STATE, "n_text_state": TRIAL_STATE}
    few = dict.fromkeys(("n_audio_head", "n_text_head", "n_audio_layer", "n_text_layer"), 2)
    return replace(model_info("tiny").dimensions, **small, **few)


def dimensions_of(part: Part, name: str) -> ModelDimensions:
    return trial_dimensions() if part.is_trial else model_info(name).dimensions


def random_one(part: Part, name: str, tokens: int = TOKENS_PER_WINDOW) -> Whisper:
    """In fp32 on the part's device. tokens: that it says in each window of a recording."""
    tokens = TRIAL_TOKENS_PER_WINDOW if part.is_trial else tokens
    return random_model(dimensions_of(part, name), tokens, part.device)


@contextmanager
def on_decoder_stream(part: Part) -> Iterator[None]:
    """What is launched inside goes to a CUDA stream of its own, because the default one cannot be captured."""
    device = torch.device(part.device)
    with torch.inference_mode(), on_cuda_stream(new_cuda_stream(device, DECODER_PRIORITY)):
        yield


def placed(part: Part, name: str) -> Whisper:
    """As an engine has it, in fp16 on a GPU, for any CUDA stream."""
    model = place_on(random_one(part, name), torch.device(part.device))
    wait_for_device(part.is_trial)
    return model


def new_engine(part: Part) -> BatchEngine:
    return BatchEngine(part.device, 0)


def full_limit(part: Part) -> SlotLimit:
    """As many slots as an engine gives a model."""
    if part.is_trial:
        return SlotLimit(TRIAL_SLOTS, TRIAL_ENCODER_BATCH)
    return SlotLimit(SLOTS["cuda"], ENCODER_BATCH["cuda"])


class FilledSlots:
    """A model without an engine around it, in each of whose slots a window of noise can be decoded.

    Everything runs on the current CUDA stream.
    """

    def __init__(self, model: LoadedModel, limit: SlotLimit) -> None:
        """Takes the memory and captures all graphs."""
        self._model = model
        self._limit = limit
        self._memory = CudaWindowMemory(model, limit)
        self._memory.prepare(lambda work: work())
        self.batch = self._memory.slot_batch(SlotKind())
        self._windows: list[EncodedWindow] = []

    def fill(self, prompt_tokens: int) -> None:
        """Encode a window for each slot, and read its prompt, which has so many tokens of text."""
        for _ in range(self._limit.slots // self._limit.encoder_batch):
            places = self._memory.places(self._limit.encoder_batch)
            mels = [torch.randn(self._model.traits.n_mels, WINDOW_FRAMES) for _ in places]
            encoded = self._memory.encode(mels, places, detects=self._model.traits.is_multilingual)
            for cross, place in zip(encoded.cross, places, strict=True):
                self._windows.append(EncodedWindow(Mock(), own_cross=cross, place=place))
        for window in self._windows:
            self.batch.add(self._sequence(window, prompt_tokens))
        self._read_prompts()

    def read_again(self, windows: int, prompt_tokens: int) -> None:
        """Read prompts of so many tokens of text for the windows in the first slots."""
        for sequence in self.batch.sequences[:windows]:
            self.batch.replace(sequence, self._sequence(sequence.window, prompt_tokens))
        self._read_prompts()

    def _read_prompts(self) -> None:
        for sequences in self.batch.prompts_to_read():
            self.batch.read_prompts(sequences)

    def _sequence(self, window: EncodedWindow, prompt_tokens: int) -> Sequence:
        prompt = tuple(range(1000, 1000 + prompt_tokens))
        request = Decode(window, prompt, "en", "transcribe", 0.0, 0, DEFAULT_SETTINGS)
        return self._model.sequence(request, owner=None, task_seed=0)
