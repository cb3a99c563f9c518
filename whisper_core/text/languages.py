"""The languages that Whisper knows, named as in openai-whisper, and what people and files call them.

A test compares the tables with openai-whisper's.
"""

from __future__ import annotations

import re

LANGUAGES: dict[str, str] = {
    "en": "english",
    "zh": "chinese",
    "de": "german",
    "es": "spanish",
    "ru": "russian",
    "ko": "korean",
    "fr": "french",
    "ja": "japanese",
    "pt": "portuguese",
    "tr": "turkish",
    "pl": "polish",
    "ca": "catalan",
    "nl": "dutch",
    "ar": "arabic",
    "sv": "swedish",
    "it": "italian",
    "id": "indonesian",
    "hi": "hindi",
    "fi": "finnish",
    "vi": "vietnamese",
    "he": "hebrew",
    "uk": "ukrainian",
    "el": "greek",
    "ms": "malay",
    "cs": "czech",
    "ro": "romanian",
    "da": "danish",
    "hu": "hungarian",
    "ta": "tamil",
    "no": "norwegian",
    "th": "thai",
    "ur": "urdu",
    "hr": "croatian",
    "bg": "bulgarian",
    "lt": "lithuanian",
    "la": "latin",
    "mi": "maori",
    "ml": "malayalam",
    "cy": "welsh",
    "sk": "slovak",
    "te": "telugu",
    "fa": "persian",
    "lv": "latvian",
    "bn": "bengali",
    "sr": "serbian",
    "az": "azerbaijani",
    "sl": "slovenian",
    "kn": "kannada",
    "et": "estonian",
    "mk": "macedonian",
    "br": "breton",
    "eu": "basque",
    "is": "icelandic",
    "hy": "armenian",
    "ne": "nepali",
    "mn": "mongolian",
    "bs": "bosnian",
    "kk": "kazakh",
    "sq": "albanian",
    "sw": "swahili",
    "gl": "galician",
    "mr": "marathi",
    "pa": "punjabi",
    "si": "sinhala",
    "km": "khmer",
    "sn": "shona",
    "yo": "yoruba",
    "so": "somali",
    "af": "afrikaans",
    "oc": "occitan",
    "ka": "georgian",
    "be": "belarusian",
    "tg": "tajik",
    "sd": "sindhi",
    "gu": "gujarati",
    "am": "amharic",
    "yi": "yiddish",
    "lo": "lao",
    "uz": "uzbek",
    "fo": "faroese",
    "ht": "haitian creole",
    "ps": "pashto",
    "tk": "turkmen",
    "nn": "nynorsk",
    "mt": "maltese",
    "sa": "sanskrit",
    "lb": "luxembourgish",
    "my": "myanmar",
    "bo": "tibetan",
    "tl": "tagalog",
    "mg": "malagasy",
    "as": "assamese",
    "tt": "tatar",
    "haw": "hawaiian",
    "ln": "lingala",
    "ha": "hausa",
    "ba": "bashkir",
    "jw": "javanese",
    "su": "sundanese",
    "yue": "cantonese",
}

# openai-whisper's other names.
ALIASES: dict[str, str] = {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
}

# The first code of each entry is Whisper's.
_CODES_OF_OTHER_STANDARDS = """
# ISO 639-1 before and after a change; members of a language that ISO 639-3 divides
he iw; yi ji; id in; jw jv; ro mo; no nb nob; nn nno; sr sh; zh cmn; tl fil; ms zlm; fa pes prs; lv lvs; et ekk
# ISO 639-2, as media files name the language of a track; both codes where there are two
en eng; zh zho chi; de deu ger; es spa; ru rus; ko kor; fr fra fre; ja jpn; pt por; tr tur; pl pol; ca cat; nl nld dut
ar ara; sv swe; it ita; id ind; hi hin; fi fin; vi vie; he heb; uk ukr; el ell gre; ms msa may; cs ces cze; ro ron rum
da dan; hu hun; ta tam; no nor; th tha; ur urd; hr hrv scr; bg bul; lt lit; la lat; mi mri mao; ml mal; cy cym wel
sk slk slo; te tel; fa fas per; lv lav; bn ben; sr srp scc; az aze; sl slv; kn kan; et est; mk mkd mac; br bre
eu eus baq; is isl ice; hy hye arm; ne nep; mn mon; bs bos; kk kaz; sq sqi alb; sw swa; gl glg; mr mar; pa pan; si sin
km khm; sn sna; yo yor; so som; af afr; oc oci; ka kat geo; be bel; tg tgk; sd snd; gu guj; am amh; yi yid; lo lao
uz uzb; fo fao; ht hat; ps pus; tk tuk; mt mlt; sa san; lb ltz; my mya bur; bo bod tib; tl tgl; mg mlg; as asm; tt tat
ln lin; ha hau; ba bak; jw jav; su sun
"""


def _other_codes() -> dict[str, str]:
    lines = [line for line in _CODES_OF_OTHER_STANDARDS.splitlines() if not line.startswith("#")]
    entries = [entry.split() for line in lines for entry in line.split(";") if entry]
    return {other: own for own, *others in entries for other in others}


_BY_NAME = {name: code for code, name in LANGUAGES.items()} | ALIASES | _other_codes()
_TAG = re.compile(r"([a-z]{2,3})(?:[-_]([a-z0-9]{2,8}))*")  # BCP 47, and a locale's name


def language_code(text: str) -> str | None:
    """The code in LANGUAGES that `text` means, or None when it is none of Whisper's languages.

    text: a code or a name as openai-whisper takes them (`en`, `English`, `GERMAN`, `Mandarin`), a code of ISO 639-2
    (`eng`, `ger`, `deu`), or a regional tag, which means its language (`en-US`, `zh_CN`, `pt-BR`, `zh-Hans-CN`;
    `zh-yue` is Cantonese).
    """
    word = " ".join(text.lower().split())
    if word in LANGUAGES:
        return word
    if word in _BY_NAME:
        return _BY_NAME[word]
    word = word.partition(".")[0]  # de_DE.UTF-8
    tag = _TAG.fullmatch(word)
    if tag is None:
        return None
    if word.startswith(("zh-yue", "zh_yue")):
        return "yue"
    return tag[1] if tag[1] in LANGUAGES else _BY_NAME.get(tag[1])
