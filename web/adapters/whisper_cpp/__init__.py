"""The API of whisper.cpp's server. See docs/clients.md."""
