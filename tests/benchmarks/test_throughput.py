"""The comparisons of `make bench`, with made-up measurements: who takes part, in which order, what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import contenders as who
from benchmarks.contenders import Contender, Plan, measure_in_turns, median_run, own_model
from benchmarks.document import require_markers
from benchmarks.machine import with_instructions
from benchmarks.measurement import Measurement, Text
from benchmarks.peers import OPENAI, Precision, available, installed_versions
from benchmarks.recordings import Recording
from benchmarks.throughput import DOCUMENT, Result, Runs, Wanted, marker, report, upstream_texts
from benchmarks.throughput_tables import comparison, growth, health, spread

BATCHED = "faster-whisper, batches of 16"
EVERYTHING = {"faster-whisper": "1", "pywhispercpp": "1", "openvino-genai": "1"}


def recording(name: str, text: str | None = "red cat", seconds: float = 60.0) -> Recording:
    return Recording(name, Path(name), Path(name), seconds, "en", text, (name,))


def text(*segments: str) -> Text:
    parts = tuple((float(place), place + 1.0, words) for place, words in enumerate(segments))
    return Text("".join(segments), parts)


def run(seconds: float, *segments: str, **fields: object) -> Measurement:
    return Measurement(seconds, {"a": text(*segments)}, 2**20, **fields)  # type: ignore[arg-type]


def plan(*modes: str) -> Plan:
    return Plan(Path(), Path(), None, "", has_server=False, modes=modes, settings={"ENGINE": "batch"})


@pytest.fixture
def runs() -> Runs:
    return {
        OPENAI: [run(30.0, " red", " cat", windows=3, tokens=30, fallbacks=0)],
        BATCHED: [run(15.0, " red bat", windows=2, tokens=20, fallbacks=0)],
        who.engine_name("exact"): [run(6.0, " red", " cat", windows=3, tokens=33, fallbacks=1, occupancy=0.5)],
        who.server_name("exact"): [run(10.0, " red", " cat")],
    }


def test_each_precision_has_its_own_contenders() -> None:
    fp32, int8 = ([peer.name for peer in available(precision, EVERYTHING)] for precision in Precision)
    assert fp32 == ["openai-whisper", "faster-whisper", BATCHED]
    assert int8 == [
        "faster-whisper", "faster-whisper, batches of 8", BATCHED, "whisper.cpp, q8_0", "OpenVINO GenAI",
    ]  # fmt: skip
    assert [own_model("base", precision) for precision in Precision] == ["base", "base-int8"]


def test_who_is_not_installed_does_not_take_part() -> None:
    assert installed_versions(None) == {}
    assert [peer.name for peer in available(Precision.FP32, {})] == [OPENAI]
    assert [peer.name for peer in available(Precision.INT8, {"pywhispercpp": "1"})] == ["whisper.cpp, q8_0"]


def test_contenders_take_turns_in_alternating_order_and_the_median_run_counts() -> None:
    order: list[str] = []
    times = iter([3.0, 9.0, 8.0, 1.0, 2.0, 7.0])

    def contender(name: str) -> Contender:
        def measure(recordings: object) -> Measurement:
            order.append(name)
            return run(next(times), "one")

        return Contender(name, measure)

    runs = measure_in_turns([contender("A"), contender("B")], [recording("a")], 3)
    assert order == ["A", "B", "B", "A", "A", "B"]
    assert [median_run(runs[name]).seconds for name in "AB"] == [2.0, 8.0]


def test_the_comparison_takes_end_to_end_for_this_project(runs: Runs) -> None:
    lines = comparison(runs, [recording("a")], ["exact"], runs[OPENAI][0].texts).splitlines()
    assert "| WER | × openai-whisper | × fastest other |" in lines[0]
    assert lines[3] == (
        "| faster-whisper, batches of 16 | – | 4.0 | 0.5000 | 2.00 | 1.00 | 0.13 | 10 | – | 0 % | 0 % | 0 % | 1 |"
    )
    assert lines[-1] == (
        "| this project, exact | 6.0 | 10.0 | 0.0000 | 3.00 | 1.50 | 0.50 | 11 | 50 % | 33 % | 100 % | 100 % | 1 / 1 |"
    )


def test_texts_that_differ_inside_have_an_error_rate_of_their_own(runs: Runs) -> None:
    runs[who.engine_name("exact")] = [run(6.0, " red", " bat")]
    last = comparison(runs, [recording("a")], ["exact"], None).splitlines()[-1]
    assert (
        last == "| this project, exact | 6.0 | 10.0 | 0.0000 / 0.5000 | 3.00 | 1.50 | – | – | – | – | – | – | 1 / 1 |"
    )


def test_growth_is_counted_from_one_task() -> None:
    by_count = {
        count: {who.engine_name("exact"): [Measurement(10.0, {"a": text("red"), "b": text("red cat")}, 1, windows=2)]}
        for count in (1, 2)
    }
    last = growth(by_count, [recording("a"), recording("b")]).splitlines()[-1]
    assert last == "| 2 | – | 12.0 | 0.2500 | – | 2.00 | 0.20 | – |"


def test_health_is_told_over_all_runs_of_the_server() -> None:
    runs = {"server": [run(1.0, health_ms=(1.0, 2.0)), run(1.0, health_ms=(3.0,))], "other": [run(1.0)]}
    assert "median 2.0 ms, 99 of 100 within 3.0 ms, largest 3.0 ms (3 answers)" in health(runs)
    assert health({"other": [run(1.0)]}) == ""


def test_how_far_runs_lie_apart_is_told() -> None:
    runs = {"steady": [run(9.9), run(10.0), run(10.1)], "other": [run(8.0), run(10.0), run(13.0)]}
    assert "at most 50 % of their median apart (*other*)" in spread(runs)
    assert spread({"once": [run(1.0)]}) == ""


def test_int8_is_compared_with_the_texts_that_openai_whisper_gave_in_the_same_run(runs: Runs) -> None:
    int8 = {"whisper.cpp, q8_0": [run(20.0, " red", " cat")], who.engine_name("vad"): [run(5.0, " red", " bat")]}
    results = [
        Result("base", Precision.FP32, {"minutes": runs}, {}),
        Result("base", Precision.INT8, {"minutes": int8}, {}),
    ]
    wanted = Wanted({"minutes": [recording("a")]}, [recording("a")], False, 1, EVERYTHING)
    lines = report(results[1], plan("vad"), wanted, upstream_texts(results, "base")).splitlines()
    assert "### base, int8: one recording of 60 s" in lines
    assert lines[-2].endswith("| 3.0 | 0.0000 | 1.00 | 1.00 | – | – | – | – | 100 % | 100 % | 1 |")
    assert lines[-1].endswith("| 12.0 | 0.5000 | 4.00 | 4.00 | – | – | – | – | 50 % | 0 % | 1 |")
    assert "pywhispercpp 1" in lines[0]
    assert upstream_texts(results, "tiny.en") == {}


def test_every_table_has_its_place_in_the_document() -> None:
    markers = [marker(model, precision) for model in ("tiny.en", "base") for precision in Precision]
    require_markers(DOCUMENT, markers)
    assert [DOCUMENT.read_text().count(f"<!-- {each}:begin -->") for each in markers] == [1] * len(markers)


def test_the_processor_is_named_with_its_instructions() -> None:
    assert with_instructions("AMD EPYC avx2 avx512f avx512_vnni avx512_bf16") == (
        "AMD EPYC (AVX2, AVX-512, VNNI, bf16)"
    )
    assert with_instructions("Xeon avx2 avx512f amx_tile") == "Xeon (AVX2, AVX-512, AMX)"
    assert with_instructions("a processor") == "a processor"
