"""whisper-asr-webservice's API, which Bazarr speaks: transcripts and languages. See docs/clients.md."""
