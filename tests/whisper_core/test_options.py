"""Each of openai-whisper's options changes a transcript exactly as it does there, also over a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from whisper.model import Whisper

from tests.paths import DATA, SHORT
from tests.slow_cases import slow
from tests.whisper_core.engine.driving import assert_same, transcribe_together
from tests.whisper_core.parity import RATE, Samples, SamplesOf, assert_parity, noise, resume_after
from tests.whisper_core.scripted_model import EndlessError, ScriptedModel, our_windows, upstream_result
from whisper_core.audio.log_mel import LogMel
from whisper_core.clips import Clips
from whisper_core.model_requests import DetectLanguage, Encode
from whisper_core.models.load import load_model
from whisper_core.text.options import TranscribeOptions
from whisper_core.transcribe import transcription_steps

GREEDY = TranscribeOptions(language="en", temperature=0.0)
WORDS = replace(GREEDY, word_timestamps=True)
LADDER = TranscribeOptions(language="en")
PROMPTED = replace(LADDER, initial_prompt="Names: Ann")
ONE_MINUTE = noise(65)

CASES = {
    "no conditioning": replace(LADDER, condition_on_previous_text=False),
    "no thresholds": replace(
        LADDER, compression_ratio_threshold=None, logprob_threshold=None, no_speech_threshold=None
    ),
    "other thresholds": replace(
        LADDER, compression_ratio_threshold=1.2, logprob_threshold=-0.5, no_speech_threshold=0.3
    ),
    "silence whatever the logprob": replace(GREEDY, no_speech_threshold=0.5, logprob_threshold=None),
    "prompt carried": replace(PROMPTED, carry_initial_prompt=True),
    "prompt carried, no conditioning": replace(PROMPTED, carry_initial_prompt=True, condition_on_previous_text=False),
    "prompt that leaves no room": replace(LADDER, initial_prompt="many words " * 40, carry_initial_prompt=True),
    "one clip": replace(LADDER, clip_timestamps="3.5,20"),
    "from a moment on": replace(LADDER, clip_timestamps="21.25"),
    "several clips": replace(WORDS, clip_timestamps="1,2.5,2.5,9,30.01,50,60"),
    "empty clips": replace(GREEDY, clip_timestamps="1,1,5,6"),
    "hallucinations": replace(WORDS, hallucination_silence_threshold=1.0),
    "hallucinations in clips": replace(WORDS, hallucination_silence_threshold=0.5, clip_timestamps="2,40,41"),
}


def result_of(options: TranscribeOptions, seed: int) -> dict[str, object] | None:
    """None where openai-whisper would never return."""
    try:
        return upstream_result(ScriptedModel(seed), ONE_MINUTE, options)
    except EndlessError:
        return None


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_an_option_means_what_it_means_upstream(options: TranscribeOptions) -> None:
    compared = 0
    for seed in range(3):
        expected = result_of(options, seed)
        if expected is not None:
            ours, _ = our_windows(ScriptedModel(seed), ONE_MINUTE, options)
            assert ours.to_dict() == {**expected, "precision": "fp32"}
            compared += 1
    assert compared >= 2
    without = TranscribeOptions(
        language="en",
        temperature=options.temperature,
        initial_prompt=options.initial_prompt,
        word_timestamps=options.word_timestamps,
    )
    assert any(result_of(options, seed) != result_of(without, seed) for seed in range(3)), "the option changes nothing"


@pytest.mark.parametrize("threshold", [0.0, 0.05, 2.0, 4.0, 30.0])
def test_hallucinations_are_left_out_as_upstream_does(threshold: float) -> None:
    options = replace(WORDS, hallucination_silence_threshold=threshold)
    results = {seed: result_of(options, seed) for seed in range(5)}
    comparable = {seed: result for seed, result in results.items() if result is not None}
    assert len(comparable) >= 2
    for seed, expected in comparable.items():
        ours, _ = our_windows(ScriptedModel(seed), ONE_MINUTE, options)
        assert ours.to_dict() == {**expected, "precision": "fp32"}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_an_option_holds_over_a_restart(options: TranscribeOptions) -> None:
    samples, seed = ONE_MINUTE, next(seed for seed in range(9) if result_of(options, seed) is not None)
    whole, windows = our_windows(ScriptedModel(seed), samples, options)
    assert windows[-1].checkpoint.is_at_end
    for done in {1, len(windows) // 2, len(windows) - 1, len(windows)} - {0}:
        resumed, rest = our_windows(ScriptedModel(seed), samples, options, resume_after(windows[:done]))
        assert (resumed, rest) == (whole, windows[done:])


def prompts_of(options: TranscribeOptions) -> list[tuple[int, ...]]:
    """The prompt of each window."""
    model = ScriptedModel(1)
    our_windows(model, noise(65), options)
    return model.prompts


def test_hotwords_come_before_every_window_and_before_the_prompt() -> None:
    options = replace(GREEDY, hotwords="Ångström", initial_prompt="Names", condition_on_previous_text=False)
    first, *others = prompts_of(options)
    hotwords = others[0]
    assert hotwords
    assert first == (*hotwords, *prompts_of(replace(options, hotwords=None))[0])
    assert set(others) == {hotwords}
    assert set(prompts_of(replace(options, carry_initial_prompt=True))) == {first}


def test_long_hotwords_leave_no_room_for_the_text_before() -> None:
    prompts = prompts_of(replace(GREEDY, hotwords="many words " * 40, initial_prompt="Names"))
    assert len(set(prompts)) == 1
    assert len(prompts[0]) == 19


@pytest.mark.parametrize(
    ("text", "ranges"),
    [("0", ((0, 1000),)), ("2,30", ((200, 1000),)), ("20,30", ()), ("1,2,9", ((100, 200), (900, 1000)))],
)
def test_clips_end_with_the_recording(text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    """openai-whisper decodes a clip that ends later again and again."""
    assert Clips.of(text, 1000).ranges == ranges


def test_a_window_that_runs_over_its_clip_leads_to_the_start_of_the_next() -> None:
    clips = Clips.of("0,2,3,5", 1000)
    assert [clips.after_window(0, seek) for seek in (150, 200, 350, 900)] == [150, 300, 300, 300]
    assert clips.after_window(300, 500) is None


def window_for_language(samples: Samples, options: TranscribeOptions) -> int:
    """The mel frame where the window begins that the language is detected from."""
    steps = transcription_steps(LogMel(samples, 80), ScriptedModel(0).traits, options)
    encode = next(steps)
    assert isinstance(encode, Encode)
    assert isinstance(steps.send(encode.mel), DetectLanguage)
    steps.close()
    first: int = encode.mel.first  # type: ignore[attr-defined]
    return first


def test_the_language_may_be_detected_from_the_first_speech(samples_of: SamplesOf) -> None:
    """Music and noise before it may be taken for any language."""
    noisy = (np.random.default_rng(0).standard_normal(41 * RATE) * 300).astype(np.int16)
    samples = np.concatenate([noisy, samples_of(SHORT)])
    from_speech = TranscribeOptions(detect_language="first_speech")
    assert window_for_language(samples, TranscribeOptions()) == 0
    assert 4090 <= window_for_language(samples, from_speech) <= 4150
    assert window_for_language(noisy, from_speech) == 0


SEARCHES = {
    "five beams": replace(GREEDY, beam_size=5),
    "patient beams": replace(GREEDY, beam_size=2, patience=2.0, length_penalty=0.6),
    "other tokens suppressed": replace(GREEDY, suppress_tokens="11,13,0"),
    "no token suppressed": replace(GREEDY, suppress_tokens="", beam_size=2),
}


def _sine_chord(seconds: float) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6)]
    return np.rint(4000 * np.sum(waves, axis=0)).astype(np.int16)


WITHOUT_SPEECH = {
    "silence": np.zeros(8 * RATE, np.int16),
    "noise": (np.random.default_rng(0).standard_normal(8 * RATE) * 1500).astype(np.int16),
    "chord": _sine_chord(8),
}


@pytest.fixture(scope="module")
def tiny_en(models_dir: Path) -> Whisper:
    return load_model("tiny.en", models_dir, "cpu")


@pytest.mark.models
@pytest.mark.parametrize("name", ["silence", slow("noise"), slow("chord")])
def test_what_is_invented_for_sound_without_speech_is_upstream_s(tiny_en: Whisper, name: str) -> None:
    """And a lower no_speech_threshold, which no probability outweighs, leaves all of it out."""
    assert_parity(tiny_en, WITHOUT_SPEECH[name], GREEDY)
    strict = replace(GREEDY, no_speech_threshold=0.0, logprob_threshold=None)
    assert assert_parity(tiny_en, WITHOUT_SPEECH[name], strict).text == ""


@pytest.mark.models
def test_searches_side_by_side_write_what_upstream_writes(
    tiny_en: Whisper, samples_of: SamplesOf, tmp_path: Path
) -> None:
    samples = samples_of(SHORT)
    options = [SEARCHES["patient beams"], SEARCHES["other tokens suppressed"]]
    together = transcribe_together(tiny_en, [samples] * len(options), options, None, tmp_path, cores=2)
    for wanted, ours in zip(options, together, strict=True):
        assert_same(ours, assert_parity(tiny_en, samples, wanted))


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", sorted(DATA.glob("*.flac")), ids=lambda path: path.name)
def test_searches_side_by_side_write_what_upstream_writes_of_all_speech(
    tiny_en: Whisper, path: Path, samples_of: SamplesOf, tmp_path: Path
) -> None:
    samples, options = samples_of(path), [*SEARCHES.values(), GREEDY, replace(GREEDY, beam_size=10)]
    together = transcribe_together(tiny_en, [samples] * len(options), options, None, tmp_path, cores=2)
    for wanted, ours in zip(options, together, strict=True):
        assert_same(ours, assert_parity(tiny_en, samples, wanted))


def clips_within(clip_timestamps: str, samples: Samples) -> str:
    """The clips as far as there is sound: openai-whisper never returns from one that ends later."""
    end = len(samples) // (RATE // 100) / 100
    return ",".join(f"{min(float(time), end):.2f}" for time in clip_timestamps.split(","))


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
@pytest.mark.parametrize("path", sorted(DATA.glob("*.flac")), ids=lambda path: path.name)
def test_an_option_means_what_it_means_upstream_on_speech(
    tiny_en: Whisper, options: TranscribeOptions, path: Path, samples_of: SamplesOf
) -> None:
    samples = samples_of(path)
    assert_parity(tiny_en, samples, replace(options, clip_timestamps=clips_within(options.clip_timestamps, samples)))
