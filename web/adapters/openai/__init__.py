"""OpenAI's audio API: transcriptions, translations, and the list of models. See docs/clients.md."""
