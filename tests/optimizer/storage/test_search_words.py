"""Which words a text has for the search, and what a query asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.storage import search_words
from optimizer.storage.mapping import folded
from optimizer.storage.search_words import Finder, Phrase, read_query, words_of
from tests.properties import budget


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop!", ["don", "t", "stop"]),
        ("2024-05_Interview.MP3", ["2024", "05", "interview", "mp3"]),
        ("ÄRZTE A\u0308RZTE Straße", ["ärzte", "ärzte", "strasse"]),
        ("ＧＰＵ　１２", ["gpu", "12"]),
        ("GPU显存，够", ["gpu", "显", "存", "够"]),
        ("カラーテレビ", ["カ", "ラ", "ー", "テ", "レ", "ビ"]),
        ("ｶﾞ", ["ガ"]),
        ("학교에서", ["학", "교", "에", "서"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("𠀀𠀁 🎙take", ["𠀀", "𠀁", "🎙", "take"]),
        ("% _ -- \ud800 \ue000\ue001", []),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ("quick fox", [(("quick",), False), (("fox",), True)]),
        ("quick fox ", [(("quick",), False), (("fox",), False)]),
        ('"quick fox" ju', [(("quick", "fox"), False), (("ju",), True)]),
        ('"quick fo', [(("quick", "fo"), True)]),
        ("“quick fox”", [(("quick", "fox"), False)]),
        ('fox"quick', [(("fox",), False), (("quick",), True)]),
        ("it's", [(("it", "s"), True)]),
        ("转写 服务", [(("转", "写"), False), (("服", "务"), True)]),
        ("存gp", [(("存", "gp"), True)]),
        ('" " % "', []),
        ("", []),
    ],
)
def test_what_a_query_asks_for(query: str, phrases: list[tuple[tuple[str, ...], bool]]) -> None:
    assert [(phrase.words, phrase.is_prefix) for phrase in read_query(query)] == phrases


def test_a_match_expression_names_owner_words_and_pairs() -> None:
    phrases = read_query('fox "of the" qu')
    assert search_words.match_expression(phrases, "a") == '"\ue00061" AND "fox" AND "\ue001of\ue001the" AND "qu"*'
    assert search_words.match_expression(phrases[:1], None) == '"fox"'


PIECES = st.lists(st.sampled_from([*"ab Z\"'-_.é\u0308ß你好กี\ud800\ue000\ue001\n\t", "AND", "NEAR(", "*"]), max_size=12)


@budget(200)
@given(pieces=PIECES, owner=st.text(max_size=8))
def test_nothing_that_is_written_means_anything_in_an_expression(pieces: list[str], owner: str) -> None:
    """Every term is in quotation marks, and holds letters, digits, marks and our own two signs only."""
    phrases = read_query("".join(pieces))
    for term in search_words.match_expression(phrases, owner).split(" AND "):
        inner = term.removesuffix("*")
        assert inner[0] == inner[-1] == '"'
        assert set(inner[1:-1]).isdisjoint("\"' \n\t*()-_.")


@budget(200)
@given(before=PIECES, pieces=PIECES, after=PIECES)
def test_a_phrase_is_found_where_it_was_taken_from(before: list[str], pieces: list[str], after: list[str]) -> None:
    text = " ".join(map("".join, (before, pieces, after)))
    words = words_of("".join(pieces))
    if not words:
        return
    phrase = Phrase(tuple(words), False, "")
    assert search_words.spaced_phrase(phrase) in search_words.spaced([text])
    assert [*Finder([phrase]).find(folded(text))] != []


@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("quick ", "the Quick, quickly", ["quick"]),
        ("quick", "the quick, quickly", ["quick", "quick"]),
        ('"it s"', "it's its", ["it's"]),
        ("显存", "GPU显存，显，存", ["显存", "显,存"]),
        ("gpu ", "gpu显存 gpus", ["gpu"]),
        ("ม ", "มี ม", ["ม"]),
        ("ม", "มี ม", ["ม", "ม"]),
        ("में ", "में मेंx", ["में"]),
        ("द ", "हिन्दी", []),
        ("other ", "another other", ["other"]),
        ('"no one" ', "noone no one", ["no one"]),
    ],
)
def test_what_is_marked_in_a_text(query: str, text: str, marked: list[str]) -> None:
    written = folded(text)
    assert [written[start:end] for start, end, _ in Finder(read_query(query)).find(written)] == marked
