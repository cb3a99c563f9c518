"""Languages as people, openai-whisper and media files spell them."""

from __future__ import annotations

import pytest

from whisper_core.text.languages import ALIASES, LANGUAGES, _other_codes, language_code


def test_names_and_codes_are_openai_whispers() -> None:
    from whisper import tokenizer

    assert tokenizer.LANGUAGES == LANGUAGES
    assert {**{name: code for code, name in LANGUAGES.items()}, **ALIASES} == tokenizer.TO_LANGUAGE_CODE
    for name, code in tokenizer.TO_LANGUAGE_CODE.items():
        assert (language_code(name), language_code(name.title()), language_code(code)) == (code, code, code)


def test_every_code_of_another_standard_belongs_to_a_language() -> None:
    assert set(_other_codes().values()) <= set(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("English", "en"),
        ("german", "de"),
        ("EN", "en"),
        ("en-US", "en"),
        ("en_GB.UTF-8", "en"),
        ("zh-CN", "zh"),
        ("zh-Hant-TW", "zh"),
        ("zh-yue-HK", "yue"),
        ("pt_BR", "pt"),
        ("  Haitian   Creole ", "ht"),
        ("haw-US", "haw"),
        ("nb-NO", "no"),
        ("iw", "he"),
        ("fil-PH", "tl"),
        ("ger", "de"),
        ("deu", "de"),
        ("eng", "en"),
    ],
)
def test_other_spellings_mean_the_same_language(text: str, code: str) -> None:
    assert language_code(text) == code


@pytest.mark.parametrize("text", ["", "klingon", "xx", "e", "en-", "-US", "en US", "und", "english-us!", "auto", "\0"])
def test_what_is_no_language_of_whispers_is_none(text: str) -> None:
    assert language_code(text) is None
