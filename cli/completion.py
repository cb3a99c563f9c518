"""`python main.py completion SHELL`: a script with which a shell completes commands, options and their values.

A shell completes by the name of what is called, and `python` is called for much else. So the script also defines a
function with a name of its own that calls main.py.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from version import PRODUCT_NAME

NAME = PRODUCT_NAME.lower().replace(" ", "-")
_HELP = f"""Print a script that lets a shell complete commands, options and their values.

It also defines {NAME}, which calls this program from any folder. Put one of these lines into the shell's own file:

\b
# ~/.bashrc
eval "$(@run completion bash)"
# ~/.zshrc
eval "$(@run completion zsh)"
# ~/.config/fish/config.fish
@run completion fish | source
"""
_BASH = """\
@name() { @run "$@"; }
_@word() {
    local IFS=$'\\n' type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" @run completion bash --answer)
}
complete -F _@word @name
"""
_ZSH = """\
@name() { @run "$@" }
_@word() {
    local -a response values described
    local type value help
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) @run completion zsh --answer)}")
    for type value help in ${response}; do
        case $type in
            plain) [[ $help == _ ]] && values+=("$value") || described+=("$value:$help") ;;
            dir) _path_files -/ ;;
            file) _path_files -f ;;
        esac
    done
    [[ -n $described ]] && _describe -V unsorted described -U
    [[ -n $values ]] && compadd -U -V unsorted -a values
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _@word @name
"""
_FISH = """\
function @name; @run $argv; end
function _@word
    for line in (env COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) @run completion fish --answer)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir; __fish_complete_directories (commandline -t)
            case file; __fish_complete_path (commandline -t)
            case plain; echo $parts[2]
        end
    end
end
complete --no-files --command @name --arguments '(_@word)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_ANSWERS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


def completion_command(program: click.Command) -> click.Command:
    """program: what is completed."""

    def completion(shell: str, answer: bool) -> None:
        click.echo(_answer(program, shell) if answer else script(shell))

    return click.Command(
        "completion",
        callback=completion,
        params=[
            click.Argument(["shell"], type=click.Choice(list(SCRIPTS))),
            click.Option(["--answer"], is_flag=True, hidden=True, help="What the script asks, by its environment."),
        ],
        help=_HELP.replace("@run", _run()),
    )


def script(shell: str) -> str:
    return (
        SCRIPTS[shell].replace("@name", NAME).replace("@word", NAME.replace("-", "_")).replace("@run", _run()).rstrip()
    )


def _run() -> str:
    """What calls this program from any folder."""
    return shlex.join([sys.executable, str(Path(sys.argv[0]).resolve())])


def _answer(program: click.Command, shell: str) -> str:
    """One line for each value, or several, as click's own scripts read them."""
    return _ANSWERS[shell](program, {}, NAME, "").complete()
