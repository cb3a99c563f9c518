"""config.py: every setting is checked at start, and what people read about the settings is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from config import Settings, load_settings, unknown_names
from errors import InvalidSettingsError
from tests.paths import ROOT
from tests.properties import budget
from tests.whisper_core.brought_folders import write_folder
from tools import settings_docs

CHARTER = {
    "ENABLE_OPTIMIZATION_SYSTEM": True,
    "BATCH_SCHEDULE_INTERVAL": 2,
    "MAX_TASK_RETRIES": 3,
    "MEMORY_CALIBRATION_FACTOR": 1.2,
    "PERFORMANCE_MONITOR_INTERVAL": 30,
    "ENABLE_ADAPTIVE_OPTIMIZATION": True,
    "MIN_CONCURRENT_TASKS": 1,
    "MAX_CONCURRENT_TASKS_LIMIT": 8,
    "MIN_BATCH_SIZE": 1,
    "MAX_BATCH_SIZE": 4,
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def env_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / ".env"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_ten_promised_settings_have_the_promised_defaults() -> None:
    settings = load_settings(None)
    assert {name: getattr(settings, name.lower()) for name in CHARTER} == CHARTER


def test_the_sample_file_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.sample").read_text() == settings_docs.env_sample()


def test_the_table_is_what_the_settings_say() -> None:
    document = settings_docs.DOCUMENT.read_text()
    assert settings_docs.START in document
    assert document == settings_docs.with_table(document)


def test_the_sample_file_loads_as_the_defaults() -> None:
    assert load_settings(ROOT / ".env.sample") == load_settings(None)


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = env_file(tmp_path, "PORT=1\nMAX_BATCH_SIZE=2\n")
    monkeypatch.setenv("PORT", "2")
    settings = load_settings(path)
    assert (settings.port, settings.max_batch_size) == (2, 2)


@pytest.mark.parametrize(
    "text",
    [b"\xef\xbb\xbfPORT=7\r\nHOST=localhost\r\n", b"PORT='7'\nHOST=\"localhost\"", b"port=7\nhost=localhost # here\n"],
    ids=["bom and crlf", "quotes", "lower case and a comment"],
)
def test_files_as_people_write_them_are_understood(tmp_path: Path, text: bytes) -> None:
    settings = load_settings(env_file(tmp_path, text))
    assert (settings.port, settings.host) == (7, "localhost")


def test_an_empty_value_means_the_default(tmp_path: Path) -> None:
    assert load_settings(env_file(tmp_path, "PORT=\nDEFAULT_MODEL=\n")) == load_settings(None)


def test_one_message_names_every_bad_value_and_no_secret(tmp_path: Path) -> None:
    path = env_file(tmp_path, "PORT=abc\nMAX_TASK_RETRIES=-1\nDEFAULT_MODEL=huge\nSECRET_KEY=hunter2\nLOG_LEVEL=LOUD\n")
    with pytest.raises(InvalidSettingsError) as raised:
        load_settings(path)
    message = str(raised.value)
    for expected in (
        "PORT = 'abc'",
        "MAX_TASK_RETRIES = '-1'",
        "DEFAULT_MODEL = 'huge'",
        "tiny.en",
        "LOG_LEVEL = 'LOUD'",
    ):
        assert expected in message
    assert "SECRET_KEY" in message
    assert "hunter2" not in message
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "MIN_CONCURRENT_TASKS=9",
        "MAX_CONCURRENT_TASKS_LIMIT=257",
        "ENGINE=other",
        "MIN_BATCH_SIZE=5",
        "SECRET_KEY=short",
        "DATABASE_URL=mysql://me:hunter2@host/name",
        "API_KEYS=alice",
        "API_KEYS=alice:tooshort",
        "API_KEYS=two words:0123456789012345678901234567890123456789",
        "API_KEYS=alice:" + "k" * 32 + ",bob:" + "k" * 32,
        "TRUSTED_PROXIES=proxy.example",
        "AUTH_HEADER=X-Remote-User",
        "AUTH_HEADER=X_Remote_User\nTRUSTED_PROXIES=127.0.0.1",
        "WYOMING_PORT=10300\nAPI_KEYS=alice:" + "k" * 32,
        "WYOMING_OWNER=two words",
        "WATCH_FORMATS=srt,doc",
        "WATCH_OPTIONS=model turbo",
        "WATCH_OWNER=two words",
        "WATCH_DIR=data/in",
        "WATCH_DIR=.",
        "DEVICES=gpu",
        "BATCH_SCHEDULE_INTERVAL=nan",
        "DEFAULT_MODEL=base-int8\nENGINE=reference",
        "DEFAULT_MODEL=base-int8\nENABLE_OPTIMIZATION_SYSTEM=False",
    ],
)
def test_values_that_contradict_each_other_or_mean_nothing_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSettingsError):
        load_settings(env_file(tmp_path, text))


def test_a_bad_key_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError) as raised:
        load_settings(env_file(tmp_path, "API_KEYS=alice:tooshort,bob"))
    assert "API_KEYS" in raised.value.message
    assert "tooshort" not in raised.value.message


def test_accounts_are_named_with_their_keys(tmp_path: Path) -> None:
    settings = load_settings(env_file(tmp_path, f"API_KEYS='Alice:{'a' * 32}, bob@example.org:{'b:' * 16},'"))
    assert settings.named_keys == [("alice", "a" * 32), ("bob@example.org", "b:" * 16)]
    assert settings.names_accounts
    assert not load_settings(None).names_accounts
    assert "a" * 32 not in repr(settings)


def test_the_default_model_may_be_an_int8_one(tmp_path: Path) -> None:
    assert load_settings(env_file(tmp_path, "DEFAULT_MODEL=base-int8")).default_model == "base-int8"


def test_the_limit_of_concurrency_is_a_number_or_auto(tmp_path: Path) -> None:
    assert load_settings(env_file(tmp_path, "MAX_CONCURRENT_TASKS_LIMIT=12")).max_concurrent == 12
    auto = load_settings(env_file(tmp_path, "MAX_CONCURRENT_TASKS_LIMIT=auto\nMIN_CONCURRENT_TASKS=20"))
    assert (auto.max_concurrent, auto.public_values()["MAX_CONCURRENT_TASKS_LIMIT"]) == (None, "auto")


def test_a_setting_with_several_types_gives_one_complaint(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError) as raised:
        load_settings(env_file(tmp_path, "MAX_CONCURRENT_TASKS_LIMIT=many"))
    (line,) = [line for line in raised.value.message.splitlines() if "MAX_CONCURRENT_TASKS_LIMIT" in line]
    assert " or " in line
    assert "'auto'" in line


def test_misspelt_names_are_found(tmp_path: Path) -> None:
    assert unknown_names(env_file(tmp_path, "MAX_BATCHSIZE=3\nPORT=1\n")) == ["MAX_BATCHSIZE"]
    assert unknown_names(tmp_path / "none") == []


@given(st.sampled_from(sorted(Settings.model_fields)), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_gives_settings_or_the_full_list_of_faults(name: str, value: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        try:
            monkeypatch.setenv(name.upper(), value)
        except ValueError:
            return  # the environment itself cannot hold a NUL
        message = message_of_loading()
    assert message is None or name.upper() in message


PIECES = [
    "PORT",
    "port",
    "SECRET_KEY",
    "export ",
    "=",
    " = ",
    "\n",
    "\r\n",
    "#",
    "'",
    '"',
    "\\",
    "${PORT}",
    "${X:-1}",
    "1",
    "é",
]


@budget(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(lambda p: "".join(p).encode()) | st.binary(max_size=60))
def test_any_file_gives_settings_or_one_refusal(tmp_path: Path, content: bytes) -> None:
    path = env_file(tmp_path, content)
    message = message_of_loading(path)
    if message is None:
        assert all(name == name.upper() for name in unknown_names(path))
    else:
        assert message.startswith("These settings cannot be used:") or message.endswith("is not UTF-8 text.")


def message_of_loading(path: Path | None = None) -> str | None:
    try:
        load_settings(path)
    except InvalidSettingsError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "address",
    [
        "https://",
        "http://[bad/x",
        "http://example.org:99999/x",
        "http://exa mple/x",
        "http://me:pw@example.org/",
        "ftp://x/",
    ],
)
def test_an_address_to_which_nothing_can_be_sent_is_refused_at_the_start(tmp_path: Path, address: str) -> None:
    """Else the first task that ends would fail on it, and every one after that."""
    secret = f"WEBHOOK_SECRET=whsec_{'A' * 32}"
    assert load_settings(env_file(tmp_path, f"{secret}\nWEBHOOK_URLS=http://10.0.0.1:9/x,https://example.org"))
    with pytest.raises(InvalidSettingsError, match=r"WEBHOOK_URLS = \(hidden\)"):
        load_settings(env_file(tmp_path, f"{secret}\nWEBHOOK_URLS=https://example.org/a,{address}"))


def test_the_password_of_the_database_is_in_no_message_and_not_in_what_the_settings_show(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError) as refused:
        load_settings(env_file(tmp_path, "DATABASE_URL=mysql://me:hunter2@host/name"))
    assert "DATABASE_URL = (hidden): must be postgresql://USER:PASSWORD@HOST/NAME" in str(refused.value)
    settings = load_settings(env_file(tmp_path, "DATABASE_URL=postgresql://me:hunter2@host/name"))
    assert settings.database_url.get_secret_value() == "postgresql://me:hunter2@host/name"
    assert "hunter2" not in f"{refused.value} {settings!r} {settings.model_dump(mode='json')}"


def test_secrets_and_paths_stay_out_of_what_is_shown() -> None:
    shown = load_settings(None).public_values()
    assert "PORT" in shown
    assert not {"API_KEYS", "TRUSTED_PROXIES", "AUTH_HEADER"} & shown.keys()
    assert not {"SECRET_KEY", "DATABASE_URL", "DATA_DIR", "MODELS_DIR", "FFMPEG_BINARY"} & shown.keys()
    assert not {"WATCH_DIR", "OUTPUT_DIR", "WATCH_OWNER", "WATCH_OPTIONS"} & shown.keys()


def test_the_default_model_may_be_a_folder_that_is_there(tmp_path: Path) -> None:
    write_folder(tmp_path / "models" / "mine")
    (write_folder(tmp_path / "models" / "cut") / "model.safetensors").write_bytes(b"")
    settings = env_file(tmp_path, f"MODELS_DIR={tmp_path / 'models'}\nDEFAULT_MODEL=mine-int8")
    assert load_settings(settings).default_model == "mine-int8"
    for name, reason in (("gone", r"or a model in MODELS_DIR\. model of"), ("cut", "no safetensors file")):
        with pytest.raises(InvalidSettingsError, match=reason):
            load_settings(env_file(tmp_path, f"MODELS_DIR={tmp_path / 'models'}\nDEFAULT_MODEL={name}"))
