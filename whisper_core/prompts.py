"""What a window is prompted with: hotwords, the initial prompt and the text before it.

Source: openai-whisper 20250625, transcribe.py; of hotwords, which it does not have, faster-whisper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_core.model_requests import Tokenizer
from whisper_core.text.options import TranscribeOptions


@dataclass(frozen=True)
class Prompts:
    """All in tokens."""

    hotwords: tuple[int, ...]
    initial: tuple[int, ...]
    is_carried: bool  # whether `initial` is in every window's prompt, and not only while it is recent
    longest: int  # prompt that there is room for

    @classmethod
    def of(cls, options: TranscribeOptions, tokenizer: Tokenizer, longest: int) -> Prompts:
        """longest: tokens of a prompt that a model takes."""
        hotwords = _tokens_of(options.hotwords, tokenizer)[:longest]
        initial = _tokens_of(options.initial_prompt, tokenizer)
        return cls(hotwords, initial, options.carry_initial_prompt, longest)

    def prompt(self, tokens: Sequence[int], reset_since: int) -> tuple[int, ...]:
        """tokens: of the initial prompt and of all text so far. reset_since: index of the first that may be used.

        Hotwords leave less room for the others; without them the prompt is openai-whisper's. Its slices are its own: an
        initial prompt that leaves no room is itself cut from the left.
        """
        room = self.longest - len(self.hotwords)
        wanted = tokens[reset_since:]
        if self.is_carried:
            recent = tokens[max(len(self.initial), reset_since) :][-(room - len(self.initial)) :]
            wanted = [*self.initial, *recent]
        return (*self.hotwords, *(wanted[-room:] if room else ()))


def _tokens_of(text: str | None, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Upstream rejects a prompt that spells out a special token; here it is ordinary text."""
    return () if text is None else tuple(tokenizer.encode(" " + text.strip(), disallowed_special=()))
