"""The headers of tus 1.0, read and written. Errors are the API's own."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from werkzeug.http import http_date

from errors import BadRequestError, InvalidOptionError, MissingFileError
from optimizer.common.filenames import display_name
from optimizer.intake.task_form import BATCH_FIELDS, FILE_FIELD, OPTION_FIELDS
from optimizer.storage.part_file import CHECKSUM_ALGORITHMS, Checksum

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
CONTENT_TYPE = "application/offset+octet-stream"

FILENAME, FILETYPE = "filename", "filetype"
_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # no comma, no blank


@dataclass(frozen=True)
class UploadMetadata:
    filename: str
    fields: dict[str, str]  # options by name, as the form's fields


def read_number(header: str, text: str | None) -> int:
    """Raises BadRequestError unless it is a whole number, written with digits alone."""
    if text is None or not _NUMBER.fullmatch(text):
        raise BadRequestError(f"{header} must be a whole number.", field=header)
    return int(text)


def read_metadata(header: str | None) -> UploadMetadata:
    """From Upload-Metadata. The file's type is ignored: its content decides.

    Raises BadRequestError, MissingFileError without a name, InvalidOptionError for a key sent twice. Which options
    there are, and their values, is for `read_task_form`.
    """
    values = _pairs(header or "")
    filename = values.pop(FILENAME, "")
    values.pop(FILETYPE, None)
    if FILE_FIELD in values:
        raise InvalidOptionError(
            f"There is no option of this name. There are: {', '.join((*OPTION_FIELDS, *BATCH_FIELDS))}.",
            field=FILE_FIELD,
        )
    if not filename:
        raise MissingFileError("The file has no name: Upload-Metadata needs a filename.", field=FILENAME)
    return UploadMetadata(display_name(filename), values)


def write_metadata(filename: str, fields: Mapping[str, str]) -> str:
    pairs = {FILENAME: filename, **fields}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}".rstrip() for key, value in pairs.items())


def read_checksum(header: str | None) -> Checksum | None:
    """From Upload-Checksum. Raises BadRequestError."""
    if header is None:
        return None
    checksum = Checksum.parse(header)
    if checksum is None:
        raise BadRequestError(
            f"Upload-Checksum must be one of {', '.join(CHECKSUM_ALGORITHMS)} and the checksum in base64.",
            field="Upload-Checksum",
        )
    return checksum


def expires(moment: datetime) -> str:
    """For Upload-Expires."""
    return http_date(moment)


def _pairs(header: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, encoded = pair.partition(" ")
        if not _KEY.fullmatch(key):
            raise BadRequestError("Upload-Metadata has a key that is not ASCII.", field="Upload-Metadata")
        if key in values:
            raise InvalidOptionError("This option was sent more than once.", field=key[:40])
        try:
            values[key] = base64.b64decode(encoded.strip(), validate=True).decode()
        except ValueError:
            raise BadRequestError(
                "Upload-Metadata must be pairs of a key and a value in base64 of UTF-8, separated by commas.",
                field=key[:40],
            ) from None
    return values
