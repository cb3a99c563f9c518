"""`python main.py keys`: makes, lists and revokes the keys that open the server, also while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import click

from config import Settings
from errors import UnavailableError
from optimizer.accounts.key_store import KeyStore
from optimizer.accounts.keys import ApiKey
from optimizer.common.clock import SystemClock
from optimizer.monitoring.audit import AuditTrail
from optimizer.storage.store import TaskStore
from setting_values import account_name

COUNTS_WITHIN_S = 5


def keys_group(load: Callable[[], Settings]) -> click.Group:
    """The group of commands. load: reads the settings."""

    @click.group(name="keys", help="Make, list and revoke keys; each opens the server to one account.")
    def keys() -> None:
        pass

    @keys.command(help="Make a key for the account NAME. It is shown once. The account admin sees everything.")
    @click.argument("name")
    def add(name: str) -> None:
        with _opened(load()) as store:
            key, text = store.add(_account(name))
        click.echo(f"Key {key.id} of {key.name}. It cannot be shown again:", err=True)
        click.echo(text)

    @keys.command("list", help="List the keys, without their text.")
    def list_() -> None:
        with _opened(load()) as store:
            for line in _table(store.all()):
                click.echo(line)

    @keys.command(help="Revoke the key with this ID, as `keys list` shows it.")
    @click.argument("key_id", metavar="ID")
    def revoke(key_id: str) -> None:
        with _opened(load()) as store:
            key = store.revoke(key_id)
        if key is None:
            raise click.ClickException(f"There is no key {key_id}. See: keys list")
        click.echo(f"Key {key.id} of {key.name} opens nothing any more; a running server knows in {COUNTS_WITHIN_S} s.")

    return keys


@contextmanager
def _opened(settings: Settings) -> Iterator[KeyStore]:
    """Raises DatabaseDamagedError. The database is opened beside a server that may run."""
    tasks, clock = TaskStore(settings.data_dir, settings.database_url.get_secret_value()), SystemClock()
    try:
        tasks.open_beside_server()
        yield KeyStore(tasks.database, clock, AuditTrail(tasks.database, clock))
    except UnavailableError as error:
        raise click.ClickException(error.message) from error
    finally:
        tasks.close()


def _account(name: str) -> str:
    try:
        return account_name(name)
    except ValueError as error:
        raise click.ClickException(f"{error}.") from None


def _table(keys: list[ApiKey]) -> Iterator[str]:
    yield f"{'ID':8}  {'ACCOUNT':20}  {'MADE':16}  {'LAST USED':16}  STATE"
    for key in keys:
        state = f"revoked {_shown(key.revoked_at)}" if key.is_revoked else "valid"
        yield f"{key.id:8}  {key.name:20}  {_shown(key.created_at):16}  {_shown(key.last_used_at):16}  {state}"


def _shown(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
