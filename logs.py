"""Logging for every process of the server: one line for each event, whatever its message contains.

Control characters are escaped, so text from outside cannot look like a line of ours. As text, each line of a traceback
begins with `  | `; as JSON it is a field of its event's line. When the output is a full disk or a closed pipe, lines
are lost and nothing else happens.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

FORMAT = "%(asctime)s [%(levelname)s] %(message)s"
UNFORMATTABLE = "unformattable log message"
TRACEBACK_MARGIN = "  | "
STANDARD_OUTPUT = 1
RECENT_LINES = 1000
MAX_RECENT_CHARACTERS = 2000  # of one line

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONVERSION = re.compile(r"%(?:%|[-+ #0]*\d*(?:\.\d+)?[sradifgxeX])")
_FIELD = re.compile(r"(?<!\S)(\w+)=(\S*)")
_PLACE = re.compile(r"\x00(\d+)\x00")  # of a value in a message that is not filled in

LogFormat = Literal["text", "json"]


def configure_logging(level: str, output_fd: int = STANDARD_OUTPUT, *, log_format: LogFormat = "text") -> None:
    """Sends everything from `level` upwards to the file descriptor, and to nowhere else. May be called again."""
    _fill_standard_descriptors()
    handler = DescriptorHandler(output_fd)
    handler.setFormatter(JsonFormatter() if log_format == "json" else LineFormatter(FORMAT))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, DescriptorHandler | RecentLines):
            root.removeHandler(old)
    root.addHandler(handler)
    root.addHandler(RecentLines())
    root.setLevel(level)
    logging.captureWarnings(True)


class LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record = logging.makeLogRecord(record.__dict__)
        record.msg, record.args = escape(record.getMessage()), None
        record.exc_text = None  # another handler may have cached its own form of the traceback
        return super().format(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 — logging's own name
        return _with_margin(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 — logging's own name
        return _with_margin(super().formatStack(stack_info))


class JsonFormatter(logging.Formatter):
    """One object a line: `time`, `level`, `logger` and `message`; `event` and `fields` as far as the message names any.

    Names of fields come from the message as the code has it and never from what is filled into it, so a name of a file
    that looks like a field makes none.
    """

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname
        fields: dict[str, object]
        try:
            message, fields = record.getMessage(), dict(_fields(str(record.msg), record.args))
        except (TypeError, ValueError):  # the arguments do not fit the message, which must not disturb the caller
            message, level, fields = f"{UNFORMATTABLE} {record.msg!a}", "ERROR", {}
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {"time": time, "level": level, "logger": record.name}
        if "event" in fields:
            line["event"] = fields.pop("event")
        line |= {"message": escape(message), "fields": fields}
        if record.exc_info:
            line["exception"] = "\n".join(map(escape, self.formatException(record.exc_info).splitlines()))
        return json.dumps(line)


def _fields(message: str, args: object) -> Iterator[tuple[str, object]]:
    """What the message names as `name=value`; numbers stay numbers."""
    if not isinstance(args, tuple):  # a mapping, or nothing
        args = ()
    values: list[str] = []

    def take_place(match: re.Match[str]) -> str:
        if match.group() == "%%":
            return "%"
        values.append(match.group() % (args[len(values)],))
        return f"\x00{len(values) - 1}\x00"

    message = message.replace("\x00", "")
    for name, text in _FIELD.findall(_CONVERSION.sub(take_place, message) if args else message):
        if alone := _PLACE.fullmatch(text):
            yield name, _plain(args[int(alone[1])], values[int(alone[1])])
        else:
            yield name, escape(_PLACE.sub(lambda place: values[int(place[1])], text)).rstrip(":,;")


def _plain(value: object, text: str) -> object:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return escape(value if isinstance(value, str) else text)


class DescriptorHandler(logging.Handler):
    """Writes with write(2). Nothing is buffered, so nothing can fail when the interpreter ends."""

    def __init__(self, output_fd: int) -> None:
        super().__init__()
        self._output_fd = output_fd

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except (TypeError, ValueError):  # the arguments do not fit the message, which must not disturb the caller
            data = f"[ERROR] {UNFORMATTABLE} {record.msg!a}\n".encode()
        try:
            while data:
                data = data[os.write(self._output_fd, data) :]
        except OSError:
            return


@dataclass(frozen=True)
class LogLine:
    at: float  # seconds since 1970
    level: str
    logger: str
    message: str


class RecentLines(logging.Handler):
    """Keeps the latest lines of this process in memory, to be shown: of a traceback only the exception's name."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[LogLine] = deque(maxlen=RECENT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{UNFORMATTABLE} {record.msg!a}"
        if record.exc_info and record.exc_info[0] is not None:
            message += f" ({record.exc_info[0].__name__})"
        self.lines.append(
            LogLine(record.created, record.levelname, record.name, escape(message)[:MAX_RECENT_CHARACTERS])
        )


def recent_lines(limit: int) -> list[LogLine]:
    """The latest lines that this process has logged since `configure_logging`, the newest last."""
    lines = [
        line
        for handler in logging.getLogger().handlers
        if isinstance(handler, RecentLines)
        for line in handler.lines.copy()
    ]
    return lines[max(0, len(lines) - limit) :]


def _fill_standard_descriptors() -> None:
    """Opens descriptors 0, 1 and 2 if they are closed: the next file, the database, would get such a number."""
    for descriptor in (0, STANDARD_OUTPUT, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def escape(text: str) -> str:
    """The text with line breaks, terminal controls and changes of the writing direction escaped."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def _with_margin(text: str) -> str:
    return "\n".join(TRACEBACK_MARGIN + escape(line) for line in text.splitlines())
