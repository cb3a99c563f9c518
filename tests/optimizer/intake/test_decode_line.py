"""The order in which recordings are decoded."""

from __future__ import annotations

from optimizer.intake.decode_line import QUICK_FILE_BYTES, DecodeLine, DecodeRequest, WaitingDecode
from optimizer.queue.ordering import MAX_PATIENCE_S, OwnerShares

HOUR = 57_000_000  # bytes of an mp3


def line_of(*requests: DecodeRequest, shares: OwnerShares | None = None) -> DecodeLine:
    """Asked for a second after each other."""
    line = DecodeLine(shares or OwnerShares())
    for asked_at, request in enumerate(requests):
        line.push(WaitingDecode.of(request, float(asked_at)))
    return line


def order_of(line: DecodeLine, now: float = 100.0) -> list[str]:
    order = []
    while (decode := line.pop(now)) is not None:
        order.append(decode.request.task_id)
    return order


def test_a_clip_goes_before_the_long_recordings_that_came_first() -> None:
    long_ones = [DecodeRequest(f"long{number}", file_bytes=HOUR) for number in range(6)]
    assert order_of(line_of(*long_ones, DecodeRequest("clip", file_bytes=100_000)))[0] == "clip"


def test_equal_recordings_are_taken_in_order_of_arrival() -> None:
    assert order_of(line_of(*(DecodeRequest(name, file_bytes=HOUR) for name in "abc"))) == ["a", "b", "c"]


def test_no_recording_waits_for_those_that_came_much_later() -> None:
    line = line_of(DecodeRequest("long", file_bytes=10**12))
    line.push(WaitingDecode.of(DecodeRequest("clip", file_bytes=1000), MAX_PATIENCE_S + 1))
    assert order_of(line) == ["long", "clip"]


def test_what_a_device_is_about_to_ask_for_goes_first() -> None:
    next_one = DecodeRequest("next", audio_seconds=36_000.0, is_urgent=True)
    assert order_of(line_of(DecodeRequest("clip", file_bytes=1000), next_one)) == ["next", "clip"]


def test_an_owner_whose_recordings_took_long_goes_after_the_others() -> None:
    shares = OwnerShares()
    shares.charge("bomber", 60.0, now=100.0)
    bombs = [DecodeRequest(f"bomb{number}", "bomber", file_bytes=85_000) for number in range(160)]
    line = line_of(*bombs, DecodeRequest("clip", "other", file_bytes=100_000), shares=shares)
    assert order_of(line)[0] == "clip"


def test_a_recording_of_known_length_is_tried_when_that_says_it_is_quick() -> None:
    assert DecodeRequest("a", file_bytes=10 * QUICK_FILE_BYTES, audio_seconds=60.0).may_be_quick
    assert not DecodeRequest("a", file_bytes=1000, audio_seconds=36_000.0).may_be_quick
    assert not DecodeRequest("a", file_bytes=QUICK_FILE_BYTES + 1).may_be_quick


def test_what_was_given_up_goes_after_a_clip_that_came_later() -> None:
    line = DecodeLine(OwnerShares())
    line.push(WaitingDecode.of(DecodeRequest("bomb", file_bytes=85_000), 0.0).given_up())
    line.push(WaitingDecode.of(DecodeRequest("clip", file_bytes=100_000), 40.0))
    assert order_of(line) == ["clip", "bomb"]


def test_each_try_is_longer_and_the_last_one_goes_to_the_end() -> None:
    tried = WaitingDecode.of(DecodeRequest("a"), 0.0)
    slices = [decode.slice_s for decode in (tried, tried.given_up(), tried.given_up().given_up())]
    assert slices == sorted(slices)
    assert [tried.is_long, tried.given_up().given_up().is_long] == [False, True]
    assert WaitingDecode.of(DecodeRequest("b", file_bytes=QUICK_FILE_BYTES + 1), 0.0).is_long


def test_clearing_takes_everything_out() -> None:
    line = line_of(DecodeRequest("a", "one"), DecodeRequest("b", "other"))
    assert {decode.request.task_id for decode in line.clear()} == {"a", "b"}
    assert line.pop(0.0) is None
