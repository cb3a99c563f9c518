"""Files of torch.save: read without torch and without unpickling, as torch.load reads them, or refused."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import UnusableModelError
from tests.whisper_core.checkpoint_files import write_checkpoint
from tests.whisper_core.toy_model import TOY_HEADS, toy_dimensions, toy_model
from whisper_core.formats.brought_model import StoredTensor
from whisper_core.formats.openai_checkpoint import read_openai_checkpoint
from whisper_core.formats.torch_files import MOST_PICKLE_BYTES, read_torch_file
from whisper_core.formats.zip_files import MOST_LIST_BYTES

MODEL = torch.nn.Linear(3, 2, bias=False)


class Bomb:
    """A real one: unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.mkdir, (str(self.target),)


def rewrite(path: Path, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """The same archive with another data.pkl."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, change(data) if name.endswith("/data.pkl") else data)
    return path


def nameless(archive: bytes) -> bytes:
    """With an empty name for data.pkl in the archive's list, and its name's bytes as a comment."""
    entry = archive.rindex(b"PK\1\2", 0, archive.rindex(b"/data.pkl"))
    lengths = entry + 28  # of the name, the extra field and the comment
    size = archive[lengths : lengths + 2]
    return archive[:lengths] + b"\0\0" + archive[lengths + 2 : lengths + 4] + size + archive[lengths + 6 :]


def _instead(program: bytes, _: bytes) -> bytes:
    return program


def reason_for(path: Path, read: Callable[[Path], Any] = read_torch_file) -> str:
    with pytest.raises(UnusableModelError) as caught:
        read(path)
    return caught.value.reason


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_everything_that_torch_reads_is_found_at_its_place(tmp_path: Path, protocol: int) -> None:
    matrix = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    saved = {
        "numbers": [1, -70_000, 2**40, 0.5, True, None, ("text", 1, 2, 3, 4)],
        "state": OrderedDict(first=matrix.half(), rows=matrix[1:], other=torch.ones(2, dtype=torch.int64)),
        "layer": MODEL.state_dict(),
        "parameter": torch.nn.Parameter(matrix.bfloat16()),
        "turned": matrix.T,
    }
    torch.save(saved, tmp_path / "any.pt", pickle_protocol=protocol)
    found = read_torch_file(tmp_path / "any.pt")
    data = (tmp_path / "any.pt").read_bytes()
    assert found["numbers"] == saved["numbers"]
    for stored, tensor in (
        (found["state"]["first"], matrix.half()),
        (found["state"]["rows"], matrix[1:].contiguous()),
        (found["state"]["other"], torch.ones(2, dtype=torch.int64)),
        (found["layer"]["weight"], MODEL.weight.detach()),
        (found["parameter"], matrix.bfloat16()),
    ):
        assert stored.is_in_order
        assert stored.shape == tuple(tensor.shape)
        assert data[stored.start : stored.start + stored.size_bytes] == bytes(
            tensor.view(torch.uint8).flatten().tolist()
        )
    assert not found["turned"].is_in_order


def test_a_pickle_that_wants_code_run_is_refused_by_name_and_nothing_runs(tmp_path: Path) -> None:
    target = tmp_path / "made"
    write_checkpoint(tmp_path / "bomb.pt", extra=Bomb(target))
    assert "names posix.mkdir, and nothing from a file is ever run" in reason_for(tmp_path / "bomb.pt")
    write_checkpoint(tmp_path / "bare.pt")
    for protocol in range(6):
        program = pickle.dumps(Bomb(target), protocol)
        rewrite(tmp_path / "bare.pt", partial(_instead, program))
        assert "names posix.mkdir" in reason_for(tmp_path / "bare.pt")
    torch.save(MODEL, tmp_path / "whole.pt")
    assert "names torch.nn.modules.linear.Linear" in reason_for(tmp_path / "whole.pt")
    assert not target.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x80\x02.",
        b"\x80\x02}",
        b"\x80\x02h\x07.",
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02}](K\x01K\x02u.",
        b"\x80\x02})K\x01s.",
        b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
        b"\x80\x02X\x07\x00\x00\x00storageQ.",
        b"\x80\x02(X\x07\x00\x00\x00storageK\x01X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00)) tR.",
        b"I" + b"9" * 5000 + b"\n.",
        b"\x8a\xff",
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
    ],
)
def test_nonsense_in_place_of_a_pickle_is_refused(tmp_path: Path, program: bytes) -> None:
    path = rewrite(write_checkpoint(tmp_path / "mine.pt"), lambda _: program)
    assert "mine.pt" in reason_for(path, read_openai_checkpoint)


def longer_and_longer(depth: int) -> list[Any]:
    """Lists that hold one another twice: a kilobyte in a pickle, and 2 ** depth words once they are written down."""
    lists: list[Any] = ["word"]
    for _ in range(depth):
        lists = [lists, lists]
    return lists


def test_what_is_small_in_a_pickle_and_endless_once_written_down_is_refused(tmp_path: Path) -> None:
    dims = {**asdict(toy_dimensions()), "n_audio_head": longer_and_longer(100)}
    reason = reason_for(write_checkpoint(tmp_path / "mine.pt", dims=dims), read_openai_checkpoint)
    assert reason == "n_audio_head is a table or a list instead of a number"


def tensor_of(shape: bytes) -> bytes:
    """A pickle of one tensor with that shape, and the same as its strides."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"q\x01h\x01tR."


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(tensor_of(b"(" + b"K\x01" * 100_000 + b"t"), id="a hundred thousand dimensions"),
        pytest.param(tensor_of(b"(" + (b"\x8a\xff" + b"\x7f" * 255) * 1000 + b"t"), id="dimensions without end"),
        pytest.param(
            b"\x80\x02}("
            + b"".join(b"\x8a\x0b" + (n * (2**61 - 1)).to_bytes(11, "little") + b"N" for n in range(1, 100_000))
            + b"u.",
            id="keys that have the same hash",
        ),
        pytest.param(b"}" * (MOST_PICKLE_BYTES + 1) + b".", id="as many dictionaries as bytes"),
    ],
)
def test_a_pickle_cannot_keep_its_reader_busy(tmp_path: Path, program: bytes) -> None:
    """Each of these took minutes, or gigabytes."""
    path = rewrite(write_checkpoint(tmp_path / "mine.pt"), lambda _: program)
    assert "torch.save" in reason_for(path)


def test_of_an_archive_no_more_is_read_than_its_lists_can_have(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"}.")
        archive.writestr("x/byteorder", b"little" + bytes(100))
    assert "another order of bytes" in reason_for(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"}.")
        archive.getinfo("x/data.pkl").comment = bytes(60_000)
        for number in range(MOST_LIST_BYTES // 60_000 + 1):
            archive.writestr(f"x/{number}", b"")
            archive.getinfo(f"x/{number}").comment = bytes(60_000)
    assert "cut off" in reason_for(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"QK\x00K\x05\x85", b"QK\x00K\x06\x85", id="more numbers than the storage"),
        pytest.param(b"QK\x00K\x05\x85", b"QK\x01K\x05\x85", id="beyond the storage's end"),
        pytest.param(b"K\x05tQK\x00K\x05", b"K\xfftQK\x00K\xff", id="more numbers than bytes in the file"),
    ],
)
def test_a_tensor_that_is_larger_than_its_bytes_is_refused(tmp_path: Path, before: bytes, after: bytes) -> None:
    def change(data: bytes) -> bytes:
        data = re.sub(rb"([qr]).(?=QK)", b"", data)  # the memo between the two
        assert before in data
        return data.replace(before, after)

    torch.save({"a": torch.zeros(5)}, tmp_path / "mine.pt")
    assert isinstance(read_torch_file(tmp_path / "mine.pt")["a"], StoredTensor)
    assert reason_for(rewrite(tmp_path / "mine.pt", change)) == "mine.pt is damaged, or nothing that torch.save wrote"


def test_files_that_are_no_archive_of_today_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    torch.save({"a": 1}, path, _use_new_zipfile_serialization=False)
    assert "not written by a current torch.save" in reason_for(path)
    whole = write_checkpoint(path).read_bytes()
    for length in (4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "cut off" in reason_for(path)
    path.write_bytes(nameless(whole))
    assert "no file of torch.save" in reason_for(path)
    path.write_bytes(b"")
    assert "not written by a current torch.save" in reason_for(path)
    path.write_bytes(whole)
    assert "compressed" in reason_for(rewrite(path, bytes, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", b"")
    assert "no file of torch.save" in reason_for(path)
    path.write_bytes(whole.replace(b"little", b"bigger"))
    assert "another order of bytes" in reason_for(path)


def test_openai_whispers_own_format_is_a_model(tmp_path: Path) -> None:
    model = read_openai_checkpoint(write_checkpoint(tmp_path / "mine.pt", alignment_heads=[[1, 0]]))
    assert model.dimensions == toy_dimensions()
    assert set(model.tensors) == set(toy_model().state_dict())
    assert model.alignment_heads == ((1, 0),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dims": None}, "no dims and model_state_dict"),
        ({"dims": 7}, "no dictionary"),
        ({"dims": {**asdict(toy_dimensions()), "n_mels": 128}}, "its dims say n_mels = 128, and its weights have 80"),
        ({"dims": {**asdict(toy_dimensions()), "n_text_head": TOY_HEADS + 1}}, "attention heads do not divide"),
        ({"model_state_dict": {}}, "no weights"),
        ({"model_state_dict": {"a": 1}}, "a in mine.pt is no tensor"),
        ({"model_state_dict": {"a": torch.zeros(2, 3).T}}, "does not lie row after row"),
        ({"model_state_dict": {"a": torch.zeros(2, dtype=torch.float64)}}, "stored as F64"),
        ({"model_state_dict": {"a": torch.zeros(2)}}, "is missing"),
    ],
)
def test_checkpoints_of_something_else_are_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    assert reason in reason_for(write_checkpoint(tmp_path / "mine.pt", **changes), read_openai_checkpoint)
