"""The languages of the page: English, Chinese, and those with a file static/text/<code>.json (docs/translating.md)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_FOLDER = "text"  # below static/
_CODE = re.compile(r"[a-z]{2,3}")
_DIRECTIONS = ("ltr", "rtl")


@dataclass(frozen=True, slots=True)
class PageLanguage:
    code: str
    name: str  # in the language itself
    short: str  # of a few letters
    locale: str  # what browsers call it
    direction: str = "ltr"
    texts: Mapping[str, Any] = field(default_factory=dict)  # of a file; those of English and Chinese are modules

    def text(self, key: str, english: str) -> str:
        """For a page without modules; a text that is missing is English."""
        text = self.texts.get(key)
        return text if isinstance(text, str) else english

    def for_browser(self) -> dict[str, str]:
        return {"name": self.name, "short": self.short, "locale": self.locale, "direction": self.direction}


ENGLISH = PageLanguage("en", "English", "EN", "en")
CHINESE = PageLanguage("zh", "中文", "中文", "zh-Hans")


def read_languages(static_folder: Path) -> tuple[PageLanguage, ...]:
    """English first. A file that cannot be read is left out, with a warning in the log."""
    found = [ENGLISH, CHINESE]
    for path in sorted((static_folder / _FOLDER).glob("*.json")):
        try:
            found.append(_read(path))
        except (OSError, ValueError) as error:
            _log.warning("The page is not offered in the language of %s: %s", path.name, error)
    return tuple(found)


def _read(path: Path) -> PageLanguage:
    """Raises ValueError, OSError."""
    code = path.stem
    if not _CODE.fullmatch(code) or code in (ENGLISH.code, CHINESE.code):
        raise ValueError("its name is no code of another language")
    texts = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(texts, dict):
        raise ValueError("it holds no texts by their keys")
    language = PageLanguage(code, code, code.upper(), code, texts=texts)
    direction = language.text("language.direction", "ltr")
    if direction not in _DIRECTIONS:
        raise ValueError("language.direction is ltr or rtl")
    return PageLanguage(
        code,
        name=language.text("language.name", code),
        short=language.text("language.short", code.upper()),
        locale=language.text("language.locale", code),
        direction=direction,
        texts=texts,
    )
