"""CTranslate2, the library that faster-whisper computes with, as an engine. Needs requirements-ctranslate2.txt."""
