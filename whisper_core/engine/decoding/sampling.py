"""Choosing each row's next token from filtered logits: the likeliest, or one drawn at a temperature."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def likeliest(logits: Tensor) -> Tensor:
    """(rows, vocabulary) to (rows,)."""
    return logits.argmax(dim=-1)


def drawn(logits: Tensor, temperature: float, generator: Generator) -> Tensor:
    """One token a row from softmax(logits / temperature). (rows, vocabulary) to (rows,).

    The same numbers as torch.multinomial draws from the same generator state (it divides by exponential noise and takes
    the largest too), so a reseeded openai-whisper draws the same tokens.
    """
    scaled = logits / temperature
    probabilities = (scaled - scaled.logsumexp(dim=-1, keepdim=True)).softmax(dim=-1)
    noise = torch.empty_like(probabilities).exponential_(generator=generator)
    return probabilities.div_(noise).argmax(dim=-1)


def logprob_of(choice: Tensor, logits: Tensor) -> Tensor:
    """The natural logarithm of the chosen tokens' probability at temperature 1. (rows,)."""
    return logits.log_softmax(dim=-1).gather(1, choice[:, None])[:, 0]
