"""What the alignment needs before its first window."""

from __future__ import annotations

import torch
from whisper.timing import dtw_cpu

from whisper_core.engine.alignment import compile_alignment


def test_what_is_compiled_is_what_upstream_calls() -> None:
    compile_alignment()
    compiled = dtw_cpu.signatures
    dtw_cpu(torch.rand(3, 4).double().numpy())  # as upstream's dtw gives it the scores
    assert dtw_cpu.signatures == compiled
    assert len(compiled) == 1
