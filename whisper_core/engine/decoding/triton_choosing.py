"""`choosing.choose` as one Triton kernel, for a GPU: rules, choice, logprob and commit."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor, int8

from whisper_core.engine.decoding.choosing import Sampling
from whisper_core.engine.decoding.row_state import RowState
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.dims import Rows

# A row is one program that reads 52,000 logits, so its time is that of as many turns of a loop as it takes: 13. With
# 8 logits a thread, what is known of each part stays in registers.
_BLOCK = 4096
_WARPS = 16

# Stands for minus infinity where a difference of two such must not be NaN. No logit comes near it.
_LOWEST = tl.constexpr(-1.0e30)


def choose(logits: Tensor, rules: TokenRules, state: RowState, rows: Rows, sampling: Sampling | None) -> None:
    """See choosing.choose. Leaves the logits as they are; logits and noise are contiguous."""
    given = (logits, *(sampling or ()), *([rows] if isinstance(rows, Tensor) else []))
    assert all(each.is_contiguous() for each in given)  # noqa: S101 - or the kernel would read others
    sampled = state.sampled
    _choose_kernel[(len(logits),)](
        logits,
        logits if sampling is None else sampling.noise,
        rules.is_suppressed,
        rows if isinstance(rows, Tensor) else logits,
        0 if isinstance(rows, Tensor) else rows.start or 0,
        state.token,
        state.position,
        state.tokens_left,
        state.last_timestamp,
        state.was_timestamp.view(int8),
        state.was_timestamp_before.view(int8),
        state.temperature,
        sampled.is_active,
        sampled.num_sampled,
        sampled.sum_logprob,
        sampled.tokens,
        state.record.stride(0),
        sampled.tokens.shape[1],
        logits.shape[1],
        len(rules.is_suppressed),
        rules.eot,
        rules.timestamp_begin,
        rules.largest_first,
        isinstance(rows, Tensor),
        sampling is not None,
        _BLOCK,
        num_warps=_WARPS,
    )


@triton.jit
def _scan(
    logits: tl.tensor,
    noise: tl.tensor,
    is_suppressed: tl.tensor,
    start: tl.tensor,
    end: tl.tensor,
    num_suppressed: tl.tensor,
    temperature: tl.tensor,
    is_sampled: tl.tensor,
    may_sample: tl.constexpr,
    block: tl.constexpr,
) -> tl.tensor:
    """What is known of the tokens from start on, up to `end`: the largest logit, the sum of exp(logit - largest), the
    best score, and the first token that has it.

    The score is the logit, or for a sample log(exp(logit / temperature) / noise). Where no token is allowed, the
    largest is _LOWEST, the sum 0 and the token 0. A logit that is not a number is never the best.

    Each place of the block has its own results, of each block-th token, so that turns of the loop need no reduction
    between warps.
    """
    offset = tl.arange(0, block)
    top = tl.full((block,), _LOWEST, tl.float32)
    total = tl.zeros((block,), tl.float32)
    best = tl.full((block,), _LOWEST, tl.float32)
    best_token = tl.zeros((block,), tl.int32)
    for first in range(start, end, block):
        token = first + offset
        is_there = token < end
        is_forbidden = tl.load(is_suppressed + token, mask=is_there & (token < num_suppressed), other=0) != 0
        logit = tl.load(logits + token, mask=is_there, other=float("-inf")).to(tl.float32)
        logit = tl.where(is_forbidden, float("-inf"), logit)
        if may_sample:
            drawn = tl.load(noise + token, mask=is_there & (is_sampled != 0), other=1.0)
            score = logit / temperature - tl.log(drawn)
            is_better = score > best
            best = tl.where(is_better, score, best)
        else:
            is_better = logit > top
        best_token = tl.where(is_better, token, best_token)
        new_top = tl.maximum(top, logit)
        total = total * tl.exp(top - new_top) + tl.exp(logit - new_top)
        top = new_top
    if not may_sample:
        best = top
    largest = tl.max(top, axis=0)
    highest = tl.max(best, axis=0)
    candidates = tl.where(best == highest, best_token, 2147483647)
    chosen = tl.where(highest > _LOWEST, tl.min(candidates, axis=0), 0)
    return largest, tl.sum(total * tl.exp(top - largest), axis=0), highest, chosen


@triton.jit(do_not_specialize=["first", "num_suppressed"], do_not_specialize_on_alignment=["rows"])
def _choose_kernel(
    logits: tl.tensor,
    noise: tl.tensor,
    is_suppressed: tl.tensor,
    rows: tl.tensor,
    first: tl.tensor,
    latest: tl.tensor,
    position: tl.tensor,
    tokens_left: tl.tensor,
    last_timestamp: tl.tensor,
    was_timestamp: tl.tensor,
    was_timestamp_before: tl.tensor,
    temperature: tl.tensor,
    is_active: tl.tensor,
    num_sampled: tl.tensor,
    sum_logprob: tl.tensor,
    tokens: tl.tensor,
    record_stride: tl.tensor,
    most_tokens: tl.tensor,
    vocabulary: tl.tensor,
    num_suppressed: tl.tensor,
    eot: tl.tensor,
    timestamp_begin: tl.tensor,
    largest_first: tl.tensor,
    are_listed: tl.constexpr,
    may_sample: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """A program for each row."""
    place = tl.program_id(0)
    row = (tl.load(rows + place) if are_listed else first + place).to(tl.int64)
    logits += place.to(tl.int64) * vocabulary
    of_record = row * record_stride
    active = tl.load(is_active + of_record)
    count = tl.load(num_sampled + of_record)
    last = tl.load(last_timestamp + row).to(tl.int32)
    was = tl.load(was_timestamp + row)
    was_before = tl.load(was_timestamp_before + row)

    # The rules: see TokenRules.apply. What they forbid is a range, but for the suppressed tokens.
    is_running = active != 0
    is_first = count == 0
    follows_timestamp = (was != 0) & (count != 0)
    must_be_text = follows_timestamp & (was_before != 0)
    must_close = follows_timestamp & (was_before == 0)
    text_start = tl.where(must_close, eot, 0)
    text_end = tl.where(is_first | (active == 0), 0, timestamp_begin)  # a row that has ended reads nothing
    smallest = tl.maximum(tl.where(must_close, last, last + 1), timestamp_begin)
    largest = tl.where(is_first, timestamp_begin + largest_first + 1, vocabulary)
    stamps_end = tl.where(must_be_text | (active == 0), 0, tl.minimum(largest, vocabulary))

    heat = 1.0
    is_sampled = 0  # a number, because Triton's interpreter takes the result of comparing floats for a float
    if may_sample:
        heat = tl.load(temperature + row)
        is_sampled = tl.where(heat > 0, 1, 0)
        heat = tl.where(heat > 0, heat, 1.0)
        noise += place.to(tl.int64) * vocabulary
    top_text, total_text, best_text, text = _scan(
        logits, noise, is_suppressed, text_start, text_end, num_suppressed, heat, is_sampled, may_sample, block
    )
    top_stamp, total_stamp, best_stamp, stamp = _scan(
        logits, noise, is_suppressed, smallest, stamps_end, num_suppressed, heat, is_sampled, may_sample, block
    )

    is_stamp_likelier = top_stamp + tl.log(total_stamp) > top_text
    choice = tl.where(is_stamp_likelier | (best_stamp > best_text), stamp, text)
    total_allowed_text = tl.where(is_stamp_likelier, 0.0, total_text)
    top = tl.where(is_stamp_likelier, top_stamp, tl.maximum(top_text, top_stamp))
    total = total_allowed_text * tl.exp(tl.minimum(top_text - top, 0.0)) + total_stamp * tl.exp(top_stamp - top)
    logprob = tl.load(logits + choice).to(tl.float32) - top - tl.log(total)
    logprob = tl.where(total == 0.0, float("nan"), logprob)  # nothing is allowed

    # The commit: see RowState.commit.
    token = tl.where(is_running, choice, eot)
    is_stamp = token >= timestamp_begin
    left = tl.load(tokens_left + row) - active
    tl.store(tokens + of_record + tl.minimum(count, most_tokens - 1), token)
    summed = tl.load(sum_logprob + of_record)
    tl.store(sum_logprob + of_record, tl.where(is_running, summed + logprob, summed))
    tl.store(was_timestamp_before + row, was)
    tl.store(was_timestamp + row, is_stamp.to(tl.int8))
    tl.store(last_timestamp + row, tl.where(is_stamp, token, last).to(tl.int64))
    tl.store(latest + row, token.to(tl.int64))
    tl.store(position + row, tl.load(position + row) + active)
    tl.store(num_sampled + of_record, count + active)
    tl.store(tokens_left + row, left)
    tl.store(is_active + of_record, tl.where((token != eot) & (left > 0), active, 0))
