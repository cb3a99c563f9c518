"""`python main.py tasks` and `models`: what a running server has, and what it is to do with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import click

from cli.server_client import KEY_VARIABLE, ServerClient
from cli.transcriber import CANNOT_START, CannotStartError, RefusedError
from config import Settings
from optimizer.tasks.task import TaskStatus

MOST_TASKS = 200

Load = Callable[[], Settings]


class _CannotStart(click.ClickException):
    exit_code = CANNOT_START


def local_address(settings: Settings) -> str:
    """Where this machine's server is reached, going by HOST and PORT."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - nothing is bound here
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _server_option(load: Load) -> click.Option:
    return click.Option(
        ["--server"], envvar="WHISPER_SERVER", show_envvar=True, default=lambda: local_address(load()),
        show_default="this machine's, by HOST and PORT", metavar="URL", help=f"Its key is read from {KEY_VARIABLE}.",
    )  # fmt: skip


def _json_option() -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help="The server's answer as it is.")


def tasks_group(load: Load) -> click.Group:
    """load: reads the settings, of which only those say where the server is."""
    ids = click.Argument(["ids"], nargs=-1, required=True, metavar="ID...")
    status = click.Option(["--status"], type=click.Choice([each.value for each in TaskStatus]), help="Only these.")
    limit = click.Option(
        ["--limit"], type=click.IntRange(1, MOST_TASKS), default=50, show_default=True, help="How many."
    )
    one = click.Argument(["id_"], metavar="ID")
    server = _server_option(load)
    commands = [
        click.Command("list", callback=_list_tasks, help="List the newest tasks.",
                      params=[status, limit, _json_option(), server]),
        click.Command("show", callback=_show_task, help="All that the server tells of one task, as JSON.",
                      params=[one, server]),
        _for_each("cancel", "POST", "/cancel", "Cancel tasks.", "cancelled", [ids, server]),
        _for_each("retry", "POST", "/retry", "Begin failed or cancelled tasks anew.", "waits again", [ids, server]),
        _for_each("delete", "DELETE", "", "Delete tasks with all that is kept of them.", "deleted", [ids, server]),
    ]  # fmt: skip
    return click.Group("tasks", commands=commands, help="List a server's tasks, cancel, retry or delete them.")


def models_group(load: Load) -> click.Group:
    """load: as in tasks_group."""
    name = click.Argument(["name"], metavar="NAME")
    server = _server_option(load)
    commands = [
        click.Command("list", callback=_list_models, help="List the models.",
                      params=[_json_option(), server]),
        click.Command("fetch", callback=_fetch_model, params=[name, server],
                      help="Have a model's weights fetched in the background."),
    ]  # fmt: skip
    return click.Group("models", commands=commands, help="List a server's models, or have one fetched.")


def _list_tasks(status: str | None, limit: int, as_json: bool, server: str) -> None:
    query = {"limit": str(limit)} | ({"status": status} if status else {})
    with _connected(server) as client:
        answer = client.call("GET", "api/tasks", query=query)
    if as_json:
        _print_json(answer)
        return
    click.echo(f"{'ID':26}  {'STATUS':10}  {'DONE':>5}  {'MODEL':16}  FILE")
    for task in answer["tasks"]:
        model = task["options"]["model"]
        click.echo(f"{task['id']}  {task['status']:10}  {task['progress']:5.0%}  {model:16}  {task['filename']}")


def _show_task(id_: str, server: str) -> None:
    with _connected(server) as client:
        _print_json(client.call("GET", _task_path(id_))["task"])


def _for_each(
    name: str, method: str, ending: str, help: str, told: str, params: list[click.Parameter]
) -> click.Command:
    def each(ids: tuple[str, ...], server: str) -> int:
        num_failed = 0
        with _connected(server) as client:
            for task_id in ids:
                try:
                    client.call(method, _task_path(task_id) + ending)
                    click.echo(f"{task_id}: {told}")
                except RefusedError as error:
                    num_failed += 1
                    click.echo(f"{task_id}: {error}", err=True)
        return int(num_failed > 0)

    callback: Callable[..., int] = each
    return click.Command(name, callback=callback, params=params, help=help)


def _list_models(as_json: bool, server: str) -> None:
    with _connected(server) as client:
        answer = client.call("GET", "api/models")
    if as_json:
        _print_json(answer)
        return
    click.echo(f"{'NAME':24}  {'WEIGHTS':>8}  {'LANGUAGES':9}  STATE")
    for model in answer["models"]:
        size = f"{model['size_bytes'] / 1e6:.0f} MB"
        mark = ", the default" if model["name"] == answer["default"] else ""
        languages = "many" if model["is_multilingual"] else "English"
        click.echo(f"{model['name']:24}  {size:>8}  {languages:9}  {_state(model)}{mark}")
    for broken in answer["broken_models"]:
        click.echo(f"{broken['name']:24}  {'':8}  {'':9}  {broken['reason']}")


def _state(model: dict[str, Any]) -> str:
    if model["is_available"]:
        return "here"
    if fetch := model["fetch"]:
        return f"on its way, {fetch['done_bytes'] / max(1, fetch['total_bytes']):.0%}"
    return f"not here: {model['problem']}" if model["problem"] else "not here"


def _fetch_model(name: str, server: str) -> None:
    with _connected(server) as client:
        client.call("POST", f"api/models/{quote(name, safe='')}/fetch")
    click.echo(f"{name}: on its way, or here. See: models list")


@contextmanager
def _connected(server: str) -> Iterator[ServerClient]:
    try:
        with ServerClient(server, os.environ.get(KEY_VARIABLE, "")) as client:
            yield client
    except CannotStartError as error:
        raise _CannotStart(str(error)) from error
    except RefusedError as error:
        raise click.ClickException(str(error)) from error


def _task_path(task_id: str) -> str:
    return f"api/tasks/{quote(task_id, safe='')}"


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
