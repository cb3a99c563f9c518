"""The page recognises what the server says of a wrong option, so the sentences are the same in both."""

from __future__ import annotations

import re

from tests.paths import ROOT

SOURCES = [path for folder in ("optimizer", "whisper_core") for path in sorted((ROOT / folder).rglob("*.py"))]
VALUE = re.compile(r"\{[^}]*\}")


def test_every_sentence_that_the_page_recognises_is_one_of_the_server_s() -> None:
    module = (ROOT / "static/text/detail-text.js").read_text(encoding="utf-8")
    sentences = re.findall(r"""^  \w+:\s*(?:'([^']+)'|"([^"]+)"),$""", module, re.MULTILINE)
    recognised = {VALUE.sub("{}", single or double) for single, double in sentences}
    assert len(recognised) > 30
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    joined = re.sub(r'"\s*f?"', "", source)  # a sentence over several lines
    spoken = VALUE.sub("{}", joined.replace("{other}", "Choose the model {weights}"))
    assert [sentence for sentence in recognised if f'"{sentence}"' not in spoken] == []
