"""What the views of one application share: the system behind it and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

from config import Settings

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

_SYSTEM = "transcription_system"


def attach_system(app: Flask, system: SystemPort) -> None:
    app.extensions[_SYSTEM] = system


def system_of(app: Flask) -> SystemPort:
    return cast("SystemPort", app.extensions[_SYSTEM])


def current_system() -> SystemPort:
    return system_of(current_app)


def current_settings() -> Settings:
    return current_system().settings
