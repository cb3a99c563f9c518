"""Reads a form as werkzeug does, but takes the file names of old clients, and says which field was too long.

werkzeug drops a form whole when a part's head is not UTF-8: `curl -F file=@Gespräch.mp3` sends the bytes that the
terminal has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn

from werkzeug.datastructures import FileStorage, Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser, MultiPartParser
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

READ_BYTES = 64 * 1024
# Three letters beyond ASCII in a row: no language that is written in Latin-1 has such a word.
_CYRILLIC = re.compile(rb"[\xa8\xb8\xc0-\xff]{3}")

# Gets the name of a text field that is too long for the server, and raises when it knows why; else the answer is 413.
RefuseLongField = Callable[[str], None]


def decoded_head(line: bytes) -> str:
    """UTF-8, or else the old code page of Windows that its letters suggest: Cyrillic's, or that of Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1251" if _CYRILLIC.search(line) else "cp1252", "replace")


class FormParser(FormDataParser):
    """The one parser of forms with a file."""

    def __init__(self, *args: Any, refuse_long_field: RefuseLongField, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refuse_long_field = refuse_long_field

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], Any, Any]:
        """A form that is no form is empty, as werkzeug has it."""
        if mimetype != "multipart/form-data":
            return super().parse(stream, mimetype, content_length, options)
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        try:
            boundary = (options or {}).get("boundary", "").encode("ascii")
            if not boundary:
                return stream, self.cls(), self.cls()
            for part, content in self._parts(stream, boundary, content_length):
                if isinstance(part, File):
                    files.append((part.name, FileStorage(content, part.filename, part.name, headers=part.headers)))
                else:
                    fields.append((part.name, content.decode(_charset(part.headers), "replace")))
        except ValueError:
            return stream, self.cls(), self.cls()
        return stream, self.cls(fields), self.cls(files)

    def _parts(
        self, stream: IO[bytes], boundary: bytes, content_length: int | None
    ) -> Iterator[tuple[Field | File, Any]]:
        """Each part with its content: bytes, or the file that it was written to. Raises ValueError."""
        part: Field | File | None = None
        text, file = bytearray(), None
        for event in self._events(stream, boundary):
            if isinstance(event, File):
                part, file = event, self._begin_file(event, content_length)
            elif isinstance(event, Field):
                part, file = event, None
                text.clear()
            elif isinstance(event, Data) and part is not None:
                if file is not None:
                    file.write(event.data)
                else:
                    self._extend(text, event.data, part.name)
                if not event.more_data and file is not None:
                    file.seek(0)
                if not event.more_data:
                    yield part, file if file is not None else bytes(text)

    def _events(self, stream: IO[bytes], boundary: bytes) -> Iterator[Any]:
        decoder = _Decoder(boundary, self.max_form_memory_size, max_parts=self.max_form_parts)
        while True:
            data = stream.read(READ_BYTES)
            decoder.receive_data(data or None)
            event = decoder.next_event()
            while not isinstance(event, Epilogue | NeedData):
                yield event
                event = decoder.next_event()
            if not data:
                return

    def _begin_file(self, event: File, content_length: int | None) -> IO[bytes]:
        file: IO[bytes] = self.stream_factory(
            total_content_length=content_length,
            filename=event.filename,
            content_type=event.headers.get("content-type"),
            content_length=0,
        )
        return file

    def _extend(self, text: bytearray, data: bytes, name: str) -> None:
        text += data
        if self.max_form_memory_size is not None and len(text) > self.max_form_memory_size:
            self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        self._refuse_long_field(name)
        raise RequestEntityTooLarge()


class _Decoder(MultipartDecoder):
    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        """In UTF-8, which is all that werkzeug 3.1 reads."""
        return super()._parse_headers(b"\n".join(decoded_head(bytes(line)).encode() for line in data.splitlines()))


def _charset(headers: Headers) -> str:
    return MultiPartParser().get_part_charset(headers)
