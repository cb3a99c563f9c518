"""Writes `.env.sample` and the table of docs/settings.md from the definitions in config.py.

Run `python -m tools.settings_docs` after a change to the settings; until then tests/test_config.py fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from automation_settings import AutomationSettings
from cluster_settings import ClusterSettings
from config import Settings
from version import PRODUCT_NAME

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "settings.md"
START, END = "<!-- settings: begin -->", "<!-- settings: end -->"
HEADER = f"""\
# Settings of {PRODUCT_NAME}. Copy this file to .env and change what you need; every line is optional.
# The environment takes precedence over this file. With a bad value the server does not start; one message names all.
"""
SERVER_HEADER = "\n# The server\n"
FIRST_SERVER_SETTING = "host"


def default_of(field: FieldInfo) -> str:
    default = field.default
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    return str(default)


def allowed(field: FieldInfo) -> str:
    """The range or the choices that the type allows; empty when it allows everything."""
    if field.annotation is bool:
        return "True | False"
    members = get_args(field.annotation)
    if get_origin(field.annotation) is Literal:
        return _choices(members)
    return " | ".join(filter(None, [_range(field.metadata), *map(_member, members)]))


def _member(member: object) -> str:
    """What one member of a union allows."""
    if get_origin(member) is Literal:
        return _choices(get_args(member))
    limits = [limit for extra in getattr(member, "__metadata__", ()) for limit in getattr(extra, "metadata", [extra])]
    return _range(limits)


def _choices(members: tuple[object, ...]) -> str:
    return " | ".join(map(str, members))


def _range(metadata: Sequence[object]) -> str:
    limits = []
    for limit in metadata:
        match limit:
            case Ge(ge=bound):
                limits.append(f"from {bound}")
            case Gt(gt=bound):
                limits.append(f"above {bound}")
            case Le(le=bound):
                limits.append(f"to {bound}")
    return " ".join(limits)


def _fields() -> list[tuple[str, FieldInfo]]:
    """Those of `Settings` itself first; those that it inherits are about less."""
    fields = Settings.model_fields
    others = (AutomationSettings.model_fields, ClusterSettings.model_fields)
    return sorted(fields.items(), key=lambda item: [item[0] in those for those in reversed(others)])


def env_sample() -> str:
    lines = [HEADER]
    for name, field in _fields():
        if name == FIRST_SERVER_SETTING:
            lines.append(SERVER_HEADER)
        bounds = allowed(field)
        lines.append(f"# {field.description}{f' ({bounds})' if bounds else ''}")
        lines.append(f"{name.upper()}={default_of(field)}")
    return "\n".join(lines) + "\n"


def table() -> str:
    rows = ["| name | default | allowed | meaning |", "|---|---|---|---|"]
    for name, field in _fields():
        default = default_of(field)
        shown = f"`{default}`" if default else "empty"
        bounds = allowed(field).replace("|", "\\|")
        rows.append(f"| `{name.upper()}` | {shown} | {bounds} | {field.description} |")
    return "\n".join(rows)


def with_table(document: str) -> str:
    return re.sub(
        f"{re.escape(START)}.*?{re.escape(END)}", lambda _: f"{START}\n{table()}\n{END}", document, flags=re.DOTALL
    )


def main() -> None:
    (ROOT / ".env.sample").write_text(env_sample())
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
