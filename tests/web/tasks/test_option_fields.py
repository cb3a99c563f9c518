"""openai-whisper's options as form fields: what they become, and which texts are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from config import Settings
from errors import InvalidOptionError
from optimizer.intake.task_form import option_texts, read_task_form
from optimizer.storage import mapping
from optimizer.tasks.task import TaskOptions
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.options import TranscribeOptions

WORDS = {"word_timestamps": "true"}

Read = Callable[..., TaskOptions]


@pytest.fixture
def read(make_settings: Callable[..., Settings]) -> Read:
    return lambda **fields: read_task_form(fields.items(), make_settings(), ["cpu"], ModelRegistry(), "tiny.en").options


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("carry_initial_prompt", "yes", True),
        ("hotwords", " Ångström\x00 ", "Ångström "),
        ("condition_on_previous_text", "False", False),
        ("compression_ratio_threshold", "1.5", 1.5),
        ("compression_ratio_threshold", "None", None),
        ("logprob_threshold", "-0.5", -0.5),
        ("logprob_threshold", "none", None),
        ("no_speech_threshold", "0", 0.0),
        ("no_speech_threshold", "none", None),
        ("hallucination_silence_threshold", "2", 2.0),
        ("clip_timestamps", "0.500, 3,3,1e1", "0.5,3,3,10"),
        ("beam_size", "5", 5),
        ("best_of", "10", 10),
        ("length_penalty", "0.5", 0.5),
        ("suppress_tokens", "50255, 7,-1,7", "-1,7,50255"),
        ("suppress_tokens", "None", ""),
        ("detect_language", "first_speech", "first_speech"),
        ("vad_filter", "on", True),
    ],
)
def test_an_option_is_read_stored_and_shown_where_it_differs(read: Read, name: str, text: str, value: Any) -> None:
    options = read(**WORDS, **{name: text})
    assert options.beyond_default == {name: value}
    stored = mapping._field_to_column(options)
    assert mapping._read_options(stored) == options
    assert options.transcribe == TranscribeOptions(language="en", word_timestamps=True, **{name: value})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"language": "auto", "model": "small", "task": "translate", "mode": "vad", "initial_prompt": "Dr. Ångström"},
        {"compression_ratio_threshold": "none", "logprob_threshold": "-0.25", "no_speech_threshold": "none"},
        {**WORDS, "hallucination_silence_threshold": "2", "clip_timestamps": "0.5,3,4", "track": "ger"},
        {"beam_size": "5", "best_of": "3", "patience": "1.5", "length_penalty": "0", "suppress_tokens": "none"},
        {"carry_initial_prompt": "on", "hotwords": "Kubrick", "condition_on_previous_text": "false", "vad_filter": "1"},
        {"temperature": "0", "detect_language": "first_speech", "suppress_tokens": "-1,7"},
        {"speakers": "true", "num_speakers": "3"},
    ],
)
def test_options_are_read_again_from_what_is_written_of_them(read: Read, fields: dict[str, str]) -> None:
    options = read(**fields)
    assert read(**option_texts(options)) == options


@pytest.mark.parametrize(("text", "track"), [("2", "2"), ("GER", "de"), ("nds", "nds"), ("", None)])
def test_a_track_belongs_to_the_file_and_not_to_what_is_transcribed(read: Read, text: str, track: str | None) -> None:
    options = read(track=text)
    assert options.track == track
    assert options.beyond_default == ({} if track is None else {"track": track})
    assert mapping._read_options(mapping._field_to_column(options)) == options
    assert options.transcribe == read().transcribe


@pytest.mark.parametrize("name", ["condition_on_previous_text", "logprob_threshold", "clip_timestamps", "hotwords"])
def test_an_empty_field_is_the_default(read: Read, name: str) -> None:
    assert read(**{name: " "}) == read()
    assert read().beyond_default == {}


def test_options_that_were_stored_before_there_were_these_are_the_defaults(read: Read) -> None:
    old = '{"language":"en","task":"transcribe","initial_prompt":null,"word_timestamps":false,"temperature":null,'
    assert mapping._read_options(old + '"mode":"exact","model":"tiny.en"}') == read()
    assert mapping._field_to_column(read()) == (
        '{"model":"tiny.en","language":"en","task":"transcribe","initial_prompt":null,"word_timestamps":false,'
        '"temperature":null,"mode":"exact"}'
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("carry_initial_prompt", "perhaps"),
        ("condition_on_previous_text", "2"),
        ("hotwords", "a" * 2001),
        ("compression_ratio_threshold", "-1"),
        ("compression_ratio_threshold", "nan"),
        ("logprob_threshold", "0.5"),
        ("logprob_threshold", "-inf"),
        ("no_speech_threshold", "1.1"),
        ("no_speech_threshold", "off"),
        ("hallucination_silence_threshold", "-1"),
        ("hallucination_silence_threshold", "601"),
        ("clip_timestamps", "nan"),
        ("clip_timestamps", "3,2"),
        ("clip_timestamps", "-1,2"),
        ("clip_timestamps", "1,,2"),
        ("clip_timestamps", "0,inf"),
        ("clip_timestamps", "0:10,0:20"),
        ("clip_timestamps", ",".join(map(str, range(201)))),
        ("beam_size", "0"),
        ("beam_size", "11"),
        ("beam_size", "5.0"),
        ("beam_size", "²"),
        ("best_of", "-1"),
        ("length_penalty", "1.1"),
        ("suppress_tokens", "50256"),
        ("suppress_tokens", "-2"),
        ("suppress_tokens", "1,,2"),
        ("suppress_tokens", "comma"),
        ("detect_language", "end"),
        ("vad_filter", "2"),
        ("track", "0"),
        ("track", "the second"),
        ("suppress_tokens", ",".join(map(str, range(501)))),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(read: Read, name: str, text: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        read(**WORDS, **{name: text})
    assert refused.value.field == name


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hallucination_silence_threshold": "2"}, "hallucination_silence_threshold"),
        ({**WORDS, "hallucination_silence_threshold": "2", "mode": "vad"}, "hallucination_silence_threshold"),
        ({"clip_timestamps": "2,3", "mode": "vad"}, "clip_timestamps"),
        ({"vad_filter": "true", "mode": "vad"}, "vad_filter"),
        ({"patience": "2"}, "patience"),
        ({"patience": "0.1", "beam_size": "2"}, "patience"),
    ],
)
def test_an_option_without_meaning_beside_the_others_is_refused(read: Read, fields: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidOptionError) as refused:
        read(**fields)
    assert refused.value.field == field


def test_patience_goes_with_beams(read: Read) -> None:
    assert read(beam_size="2", patience="1.5").beyond_default == {"beam_size": 2, "patience": 1.5}


def test_the_end_token_is_no_text_token_of_a_model_for_many_languages(make_settings: Callable[..., Settings]) -> None:
    fields = {"model": "tiny", "suppress_tokens": "50256"}
    assert (
        read_task_form(fields.items(), make_settings(), ["cpu"], ModelRegistry(), "tiny.en").options.suppress_tokens
        == "50256"
    )
    with pytest.raises(InvalidOptionError):
        read_task_form(
            {**fields, "suppress_tokens": "50257"}.items(), make_settings(), ["cpu"], ModelRegistry(), "tiny.en"
        )


def test_the_other_options_hold_in_fast_mode(read: Read) -> None:
    fields = {"hotwords": "Ann", "no_speech_threshold": "0.3", "carry_initial_prompt": "1", "clip_timestamps": "0"}
    assert set(read(mode="vad", **fields).beyond_default) == {"hotwords", "no_speech_threshold", "carry_initial_prompt"}
