"""Logging for every process of the server: one line an event, whatever a message holds and wherever it goes.

Control characters are escaped, so that text from outside can never look like a line of ours. A traceback's lines begin
with `  | `. A full disk or a closed pipe behind the output loses lines and disturbs nothing else.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from dataclasses import dataclass

FORMAT = "%(asctime)s [%(levelname)s] %(message)s"
TRACEBACK_MARGIN = "  | "
STANDARD_OUTPUT = 1
RECENT_LINES = 1000
MAX_RECENT_CHARACTERS = 2000  # of one line

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def configure_logging(level: str, output_fd: int = STANDARD_OUTPUT) -> None:
    """Sends everything at `level` and above to the file descriptor, and nothing anywhere else. May be called again."""
    _fill_standard_descriptors()
    handler = DescriptorHandler(output_fd)
    handler.setFormatter(LineFormatter(FORMAT))
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
        record.exc_text = None  # another handler may have kept its own form of the traceback
        return super().format(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 — logging's own name
        return _with_margin(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 — logging's own name
        return _with_margin(super().formatStack(stack_info))


class DescriptorHandler(logging.Handler):
    """Writes lines with write(2): nothing is buffered, so nothing can fail later, when the interpreter ends."""

    def __init__(self, output_fd: int) -> None:
        super().__init__()
        self._output_fd = output_fd

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except (TypeError, ValueError):  # a message whose arguments do not fit: the line is worth less than the event
            data = f"[ERROR] unformattable log message {record.msg!a}\n".encode()
        try:
            while data:
                data = data[os.write(self._output_fd, data) :]
        except OSError:
            return


@dataclass(frozen=True)
class LogLine:
    """at: seconds since 1970."""

    at: float
    level: str
    logger: str
    message: str


class RecentLines(logging.Handler):
    """The latest lines of this process, in memory and for people to read: of a traceback only what was raised."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[LogLine] = deque(maxlen=RECENT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"unformattable log message {record.msg!a}"
        if record.exc_info and record.exc_info[0] is not None:
            message += f" ({record.exc_info[0].__name__})"
        self.lines.append(
            LogLine(record.created, record.levelname, record.name, escape(message)[:MAX_RECENT_CHARACTERS])
        )


def recent_lines(limit: int) -> list[LogLine]:
    """The newest lines that this process logged since `configure_logging`, newest last."""
    lines = [
        line
        for handler in logging.getLogger().handlers
        if isinstance(handler, RecentLines)
        for line in handler.lines.copy()
    ]
    return lines[max(0, len(lines) - limit) :]


def _fill_standard_descriptors() -> None:
    """Opens those of 0, 1 and 2 that are closed: the next file to be opened, the database, would take their number."""
    for descriptor in (0, STANDARD_OUTPUT, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def escape(text: str) -> str:
    """The text without line breaks, terminal controls or reversed writing."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


def _with_margin(text: str) -> str:
    return "\n".join(TRACEBACK_MARGIN + escape(line) for line in text.splitlines())
