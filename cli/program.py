"""The command line: `python main.py [COMMAND]`. A module of this package for each command but `serve`.

A command ends with the exit code of the error that stopped it, as the server does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from cli.backup import backup_command, restore_command
from cli.completion import completion_command
from cli.doctor import doctor_command
from cli.keys import keys_group
from cli.local_system import MakeSystem, optimized_system
from cli.migrate_to import migrate_to_command
from cli.remote import models_group, tasks_group
from cli.transcribe import transcribe_command
from config import Settings
from errors import StartError, TranscriptionServerError
from version import PRODUCT_NAME, __version__

Serve = Callable[[], int]
LoadSettings = Callable[[], Settings]


def run(
    arguments: Sequence[str], *, serve: Serve, load: LoadSettings, make_system: MakeSystem = optimized_system
) -> int:
    """Executes the command that `arguments` name. Returns the process's exit code: 2 for arguments that it does not
    know."""
    try:
        outcome = _program(serve, load, make_system).main(list(arguments), prog_name="main.py", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SystemExit as end:  # a signal told it to end
        return end.code if isinstance(end.code, int) else 1
    except click.Abort:
        return 130  # Ctrl-C, as a shell reports it
    except TranscriptionServerError as error:  # such as a database that is busy
        click.echo(str(error), err=True)
        return error.exit_code if isinstance(error, StartError) else StartError.exit_code
    return outcome if isinstance(outcome, int) else 0


def _program(serve: Serve, load: LoadSettings, make_system: MakeSystem) -> click.Group:
    @click.group(name="main.py", help=f"{PRODUCT_NAME}. Without a command it serves.")
    @click.version_option(__version__, prog_name=PRODUCT_NAME)
    def program() -> None:
        pass

    program.add_command(click.Command("serve", callback=serve, help="Serve until a signal asks to stop."))
    program.add_command(transcribe_command(load, make_system))
    program.add_command(tasks_group(load))
    program.add_command(models_group(load))
    program.add_command(keys_group(load))
    program.add_command(doctor_command(load))
    program.add_command(backup_command(load))
    program.add_command(restore_command(load))
    program.add_command(migrate_to_command(load))
    program.add_command(completion_command(program))
    return program
