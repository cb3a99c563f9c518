"""When there are accounts, whom a key stands for, and that nothing opens a server to everybody by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from config import Settings
from errors import InvalidSettingsError
from optimizer.accounts.accounts import Accounts
from optimizer.accounts.key_store import KeyStore
from optimizer.accounts.live_keys import CACHE_LASTS_S
from optimizer.accounts.principal import EVERYBODY, How, Principal
from optimizer.accounts.sessions import LASTS_S
from optimizer.accounts.signing_key import FILE, signing_key
from optimizer.storage.store import TaskStore
from tests.optimizer.fakes import FakeClock

pytestmark = pytest.mark.usefixtures("each_database")  # see tests/databases.py

KEY = "k" * 40
MakeSettings = Callable[..., Settings]
MakeAccounts = Callable[..., Accounts]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(make_settings: MakeSettings) -> Iterator[TaskStore]:
    opened = TaskStore(make_settings().data_dir)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def make_accounts(make_settings: MakeSettings, store: TaskStore, clock: FakeClock) -> MakeAccounts:
    """Opened, with these settings, on the same database each time: as after a restart."""

    def make(**settings: str) -> Accounts:
        accounts = Accounts(make_settings(**settings), store.database, clock)
        accounts.open()
        return accounts

    return make


def keys_of(accounts: Accounts, store: TaskStore, clock: FakeClock) -> KeyStore:
    return KeyStore(store.database, clock, accounts.audit)


def test_without_keys_everybody_is_let_in(make_accounts: MakeAccounts) -> None:
    accounts = make_accounts()
    assert not accounts.are_in_force()
    assert accounts.is_alive(EVERYBODY)


def test_with_accounts_a_watched_folder_has_to_be_somebody_s(make_accounts: MakeAccounts) -> None:
    keys = "alice:" + "k" * 32
    with pytest.raises(InvalidSettingsError, match="WATCH_OWNER"):
        make_accounts(watch_dir="/srv/in", api_keys=keys)
    make_accounts(watch_dir="/srv/in", api_keys=keys, watch_owner="alice")
    make_accounts(watch_dir="/srv/in")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "speech.lan"])
def test_a_public_server_without_accounts_is_refused_with_what_to_do(make_accounts: MakeAccounts, host: str) -> None:
    with pytest.raises(InvalidSettingsError) as refused:
        make_accounts(host=host)
    assert all(part in refused.value.message for part in (f"HOST={host}", "keys add", "API_KEYS", "127.0.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_this_machine_alone_needs_no_accounts(make_accounts: MakeAccounts, host: str) -> None:
    assert not make_accounts(host=host).are_in_force()


def test_a_public_server_starts_with_any_kind_of_account(
    make_accounts: MakeAccounts, store: TaskStore, clock: FakeClock
) -> None:
    assert make_accounts(host="0.0.0.0", api_keys=f"alice:{KEY}").are_in_force()
    assert make_accounts(host="0.0.0.0", trusted_proxies="10.0.0.1", auth_header="X-User").are_in_force()
    keys_of(make_accounts(), store, clock).add("alice")
    assert make_accounts(host="0.0.0.0").are_in_force()


def test_a_first_key_ends_the_open_server_and_revoking_the_last_does_not_open_it_again(
    make_accounts: MakeAccounts, store: TaskStore, clock: FakeClock
) -> None:
    accounts = make_accounts()
    key, text = keys_of(accounts, store, clock).add("alice")
    clock.advance(CACHE_LASTS_S)
    assert accounts.are_in_force()
    assert not accounts.is_alive(EVERYBODY)
    assert accounts.of_key(text) == Principal("alice", How.KEY, key_id=key.id)
    keys_of(accounts, store, clock).revoke(key.id)
    clock.advance(CACHE_LASTS_S)
    assert accounts.of_key(text) is None
    assert accounts.are_in_force()
    assert make_accounts().are_in_force()  # after a restart, too


def test_a_key_of_the_settings_goes_with_them(make_accounts: MakeAccounts) -> None:
    accounts = make_accounts(api_keys=f"alice:{KEY}, bob:{'b' * 32}")
    principal = accounts.of_key(KEY)
    assert principal is not None
    assert (principal.name, principal.is_admin, principal.sees) == ("alice", False, "alice")
    token = accounts.begin_session(principal)
    assert accounts.of_session(token) is not None
    restarted = make_accounts(api_keys=f"bob:{'b' * 32}")
    assert restarted.of_session(token) is None
    assert restarted.of_key(KEY) is None


def test_a_session_is_over_after_its_time(make_accounts: MakeAccounts, clock: FakeClock) -> None:
    accounts = make_accounts(api_keys=f"admin:{KEY}")
    principal = accounts.of_key(KEY)
    assert principal is not None
    assert principal.sees is None
    token = accounts.begin_session(principal)
    clock.advance(LASTS_S - 1)
    assert accounts.of_session(token) is not None
    clock.advance(1)
    assert accounts.of_session(token) is None


def test_the_use_of_a_key_is_noted_to_the_hour(make_accounts: MakeAccounts, store: TaskStore, clock: FakeClock) -> None:
    accounts = make_accounts()
    keys = keys_of(accounts, store, clock)
    _, text = keys.add("alice")
    clock.advance(CACHE_LASTS_S + 600)
    accounts.of_key(text)
    (key,) = keys.all()
    assert key.last_used_at == clock.now().replace(minute=0, second=0)


@pytest.mark.parametrize("name", ["", "two words", "a" * 65, "0123456789abcdef", "-x", "a:b", "ä"])
def test_names_that_no_account_can_have_are_refused(make_accounts: MakeAccounts, name: str) -> None:
    assert make_accounts(api_keys=f"alice:{KEY}").of_proxy(name) is None


def test_a_proxys_word_is_taken_in_lower_case(make_accounts: MakeAccounts) -> None:
    assert make_accounts(api_keys=f"a:{KEY}").of_proxy("Carol@Example.org") == Principal("carol@example.org", How.PROXY)


def test_the_signing_key_is_made_once_kept_and_replaced_when_it_is_damaged(make_settings: MakeSettings) -> None:
    settings = make_settings()
    settings.data_dir.mkdir(exist_ok=True)
    made = signing_key(settings)
    assert signing_key(settings) == made
    (settings.data_dir / FILE).write_bytes(b"short")
    assert signing_key(settings) not in (made, b"short")
    assert signing_key(make_settings(secret_key="s" * 32)) == b"s" * 32
