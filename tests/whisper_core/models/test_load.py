"""Loading weights from both kinds of file into openai-whisper's model, and every way in which a file can be bad."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jiwer import wer
from whisper.model import Whisper
from whisper.normalizers import EnglishTextNormalizer

from errors import ModelUnavailableError, UnknownModelError, WeightsDamagedError
from tests.whisper_core.ctranslate2_files import Variables, toy_state, toy_variables, write_ct2
from tests.whisper_core.parity import SamplesOf
from tests.whisper_core.toy_model import toy_dimensions, toy_model
from whisper_core.models.catalogue import MODELS, PackageSource
from whisper_core.models.ctranslate2 import read_state_dict
from whisper_core.models.load import build_model, load_model

DIMS = toy_dimensions()


def write_pt(path: Path, model: Whisper, **changes: Any) -> Path:
    checkpoint = {"dims": asdict(model.dims), "model_state_dict": toy_state(), **changes}
    torch.save(checkpoint, path)
    return path


def become_tiny(monkeypatch: pytest.MonkeyPatch, *, pt: Path | None = None, ct2: Path | None = None) -> None:
    """Replaces `tiny` and its int8 model in the table with the toy, with the checksums of these files."""
    source = PackageSource((), _sha256(ct2), 0)
    for name in ("tiny", "tiny-int8"):
        info = replace(MODELS[name], dimensions=DIMS, sha256=_sha256(pt), package_source=source)
        monkeypatch.setitem(MODELS, name, info)


def _sha256(path: Path | None) -> str:
    return "0" * 64 if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of openai-whisper, and alignment heads that fit the toy."""
    import base64
    import gzip

    import whisper

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    heads = np.array([[False, False], [False, True]])
    dump = base64.b85encode(gzip.compress(heads.tobytes()))
    monkeypatch.setitem(whisper._ALIGNMENT_HEADS, "tiny", dump)


def assert_is_the_toy(model: Whisper) -> None:
    expected = toy_state()
    found = model.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.float(), rtol=0, atol=0)
    assert model.alignment_heads.to_dense().tolist() == [[False, False], [False, True]]
    assert not model.training
    assert next(model.parameters()).dtype == torch.float32


def test_an_official_file_gives_its_tensors_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become_tiny(monkeypatch, pt=write_pt(tmp_path / "tiny.pt", toy_model()))
    assert_is_the_toy(load_model("tiny", tmp_path, "cpu"))


def test_a_ctranslate2_file_gives_the_same_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become_tiny(monkeypatch, ct2=write_ct2(tmp_path / "tiny.ct2.bin", toy_variables()))
    assert_is_the_toy(load_model("tiny", tmp_path, "cpu"))


@pytest.mark.parametrize("file_name", ["tiny.pt", "tiny.ct2.bin"])
def test_an_int8_model_has_the_matrices_of_its_model_s_file(
    file_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if file_name.endswith(".pt"):
        become_tiny(monkeypatch, pt=write_pt(tmp_path / file_name, toy_model()))
    else:
        become_tiny(monkeypatch, ct2=write_ct2(tmp_path / file_name, toy_variables()))
    model = load_model("tiny-int8", tmp_path, "cpu")
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert dtypes["decoder.blocks.0.cross_attn.key.weight"] == dtypes["decoder.token_embedding.weight"] == torch.float16
    assert dtypes["decoder.blocks.0.mlp.0.bias"] == dtypes["encoder.conv1.weight"] == torch.float32
    assert_is_the_toy(model.float())


def test_the_model_answers_as_the_one_it_was_saved_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder's mask is no weight, so only a run can show that it is right."""
    become_tiny(monkeypatch, pt=write_pt(tmp_path / "tiny.pt", toy_model()))
    original, mel, tokens = toy_model(), torch.zeros(1, 80, 3000), torch.tensor([[50258, 50259, 50359, 7]])
    original.load_state_dict({name: tensor.float() for name, tensor in toy_state().items()})
    with torch.no_grad():
        torch.testing.assert_close(load_model("tiny", tmp_path, "cpu")(mel, tokens), original(mel, tokens))


def test_loading_leaves_torchs_random_numbers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become_tiny(monkeypatch, pt=write_pt(tmp_path / "tiny.pt", toy_model()))
    before = torch.get_rng_state()
    load_model("tiny", tmp_path, "cpu")
    assert torch.equal(before, torch.get_rng_state())


def test_a_file_with_a_wrong_checksum_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ct2 = write_ct2(tmp_path / "tiny.ct2.bin", toy_variables())
    become_tiny(monkeypatch, ct2=ct2)
    write_pt(tmp_path / "tiny.pt", toy_model(seed=1))  # whole, but not the one that is pinned

    assert_is_the_toy(load_model("tiny", tmp_path, "cpu"))
    assert "event=weights_damaged file=tiny.pt" in caplog.text


def test_one_flipped_bit_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_ct2(tmp_path / "tiny.ct2.bin", toy_variables())
    become_tiny(monkeypatch, ct2=file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsDamagedError):
        load_model("tiny", tmp_path, "cpu")
    with pytest.raises(ModelUnavailableError, match=r"Put tiny\.pt from https://"):
        load_model("tiny", tmp_path, "cpu")  # noted by now, so it does not count as being there


def test_a_file_that_changes_after_it_was_verified_is_verified_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_ct2(tmp_path / "tiny.ct2.bin", toy_variables())
    become_tiny(monkeypatch, ct2=file)
    load_model("tiny", tmp_path, "cpu")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsDamagedError):
        load_model("tiny", tmp_path, "cpu")


def test_a_verified_file_is_read_for_its_checksum_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whisper_core.models import weight_files

    become_tiny(monkeypatch, ct2=write_ct2(tmp_path / "tiny.ct2.bin", toy_variables()))
    load_model("tiny", tmp_path, "cpu")
    monkeypatch.setattr(weight_files, "sha256_of", lambda *_: pytest.fail("was read again"))
    load_model("tiny", tmp_path, "cpu")


def test_without_weights_the_message_says_which_file_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailableError, match=r"Put small\.pt from https://.*/small\.pt into MODELS_DIR\."
    ) as caught:
        load_model("small", tmp_path, "cpu")
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(UnknownModelError):
        load_model("../tiny", tmp_path, "cpu")


@pytest.mark.proves("S22")
def test_weights_run_no_code_and_come_only_from_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle bomb: with a wrong checksum it is not opened; with the right one, nothing but tensors is made of it."""
    marker = tmp_path / "marker"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(marker),)

    bomb = write_pt(tmp_path / "tiny.pt", toy_model(), extra=Bomb())
    torch.load(bomb, weights_only=False)
    assert marker.is_dir()  # it is a real one
    marker.rmdir()

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", lambda *_, **__: pytest.fail("a file with a wrong checksum was read"))
        with pytest.raises(WeightsDamagedError):
            load_model("tiny", tmp_path, "cpu")
    (tmp_path / "tiny.pt.damaged").unlink()
    become_tiny(monkeypatch, pt=bomb)
    with pytest.raises(WeightsDamagedError):
        load_model("tiny", tmp_path, "cpu")
    assert not marker.exists()

    for name in ("../tiny", "/etc/passwd", "tiny.pt", "tiny\0", "openai/whisper-tiny", "https://example.org/tiny", ""):
        with pytest.raises(UnknownModelError):
            load_model(name, tmp_path, "cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"dims": {**asdict(DIMS), "n_mels": 128}},
        {"model_state_dict": {}},
        {"model_state_dict": {**toy_state(), "decoder.ln.weight": torch.ones(3)}},
        {"model_state_dict": {**toy_state(), "surplus": torch.ones(3)}},
    ],
    ids=["other dimensions", "no tensors", "a wrong shape", "a surplus tensor"],
)
def test_an_official_file_of_another_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    become_tiny(monkeypatch, pt=write_pt(tmp_path / "tiny.pt", toy_model(), **changes))
    with pytest.raises(WeightsDamagedError):
        load_model("tiny", tmp_path, "cpu")


def _without(name: str) -> Callable[[Variables], None]:
    return lambda variables: variables.__delitem__(name)


def _with(name: str, array: np.ndarray) -> Callable[[Variables], None]:
    return lambda variables: variables.update({name: array})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_without("encoder/conv1/bias"), "without", id="a tensor is missing"),
        pytest.param(_with("decoder/layer_2/ffn/linear_0/bias", np.zeros(9, "<f2")), "with", id="a layer too many"),
        pytest.param(_with("encoder/conv1/bias", np.zeros(65, "<f2")), "conv1/bias", id="a wrong shape"),
        pytest.param(_with("encoder/conv1/bias", np.zeros(64, "<f4")), "fp16", id="a wrong type"),
        pytest.param(
            _with("encoder/layer_0/self_attention/linear_0/bias", np.ones(192, "<f2")), "bias for keys", id="keys' bias"
        ),
    ],
)
def test_a_ctranslate2_file_of_another_model_is_refused(
    tmp_path: Path, change: Callable[[Variables], None], message: str
) -> None:
    variables = toy_variables()
    change(variables)
    with pytest.raises(WeightsDamagedError, match=message):
        read_state_dict(write_ct2(tmp_path / "model.bin", variables), DIMS)


def test_a_damaged_ctranslate2_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = write_ct2(tmp_path / "whole.bin", toy_variables()).read_bytes()
    for length in (0, 1, 5, 17, 23, 30, 100, len(whole) // 2):
        cut = tmp_path / "cut.bin"
        cut.write_bytes(whole[:length])
        with pytest.raises(WeightsDamagedError):
            read_state_dict(cut, DIMS)


def test_another_version_or_specification_is_refused(tmp_path: Path) -> None:
    for version, kind in ((5, "WhisperSpec"), (6, "TransformerSpec")):
        with pytest.raises(WeightsDamagedError, match="unknown kind"):
            read_state_dict(write_ct2(tmp_path / "other.bin", toy_variables(), version, kind), DIMS)


def test_every_weight_of_a_model_must_be_given() -> None:
    state = toy_state()
    del state["encoder.conv2.weight"]
    with pytest.raises(WeightsDamagedError):
        build_model(DIMS, state)


@pytest.mark.models
@pytest.mark.filterwarnings("ignore:unclosed file.*-packages/whisper/:ResourceWarning")  # openai-whisper's own
def test_tiny_en_reads_real_speech(
    models_dir: Path,
    recordings: list[dict[str, Any]],
    samples_of: SamplesOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Converted weights, decoded sound and upstream's own transcribe together give the words that were spoken."""
    import whisper

    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # its monitor is a thread for ever
    normalize = EnglishTextNormalizer()
    model = load_model("tiny.en", models_dir, "cpu")
    entry = next(entry for entry in recordings if entry["file"] == "librivox-0880.flac")
    samples = samples_of(entry["path"]) / np.float32(32768)

    text = whisper.transcribe(model, samples, fp16=False, temperature=0.0)["text"]

    assert wer(normalize(entry["text"]), normalize(text)) <= 0.3
    assert "young man" in text
