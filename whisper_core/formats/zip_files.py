"""Where the entries of a zip archive lie in its file, for archives that compress nothing."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from errors import UnusableModelError

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
SIGNATURE = b"PK\3\4"
MOST_LIST_BYTES = 4 << 20  # of the list of entries; that of large-v3 has 150 KB


@dataclass(frozen=True)
class ZipEntry:
    start: int  # in bytes from the file's beginning
    size: int


def zip_entries(path: Path) -> dict[str, ZipEntry] | None:
    """By their names; None when it is no whole archive. Raises UnusableModelError."""
    try:
        file_bytes = path.stat().st_size
        with _ListReader(FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            infos = [info for info in archive.infolist() if info.filename and not info.is_dir()]
            if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
                raise UnusableModelError.because(
                    "layout", f"{path.name} is compressed or encrypted, as torch.save leaves none"
                )
            entries = {info.filename: ZipEntry(_start_of(file, info), info.file_size) for info in infos}
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        return None
    return entries if all(entry.start + entry.size <= file_bytes for entry in entries.values()) else None


def read_entry(path: Path, entry: ZipEntry) -> bytes:
    """Raises UnusableModelError."""
    try:
        with open(path, "rb") as file:
            file.seek(entry.start)
            return file.read(entry.size)
    except OSError as error:
        raise UnusableModelError.because("damaged", f"{path.name} cannot be read") from error


class _ListReader(BufferedReader):
    """zipfile reads the list of entries at once, and a file may say that this is nearly all of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_LIST_BYTES:
            raise zipfile.BadZipFile("too long a list")
        return super().read(size)


def _start_of(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Behind its own header, whose length differs from that in the archive's list."""
    file.seek(info.header_offset)
    signature, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if signature != SIGNATURE:
        raise zipfile.BadZipFile("no entry")
    return info.header_offset + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)
