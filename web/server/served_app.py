"""The system and the web application around it, from the start of the worker process to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from config import Settings
from web.adapters.waiting import waiting_room_of
from web.application import Application, create_app, live_feed_of
from web.http.system_port import SystemPort

if TYPE_CHECKING:
    from web.adapters.wyoming.listener import WyomingListener


class ServedApp:
    """Made in the master, used in the worker only."""

    def __init__(self, settings: Settings, make_system: Callable[[Settings], SystemPort]) -> None:
        self._settings = settings
        self._make_system = make_system
        self._system: SystemPort  # set by `build`
        self._app: Application | None = None
        self._wyoming: WyomingListener | None = None
        self._is_started = False

    def build(self) -> Application:
        """The WSGI application; nothing is started yet."""
        self._system = self._make_system(self._settings)
        self._app = create_app(self._settings, self._system)
        return self._app

    def start(self) -> None:
        """The system first, then the live feed, which listens to it."""
        self._system.start()
        live_feed_of(self._app).start()
        self._is_started = True
        if self._settings.wyoming_port:
            self._system.when_leading(self._start_wyoming)  # its port is one for all processes

    def stop(self) -> None:
        """Does nothing when the start has failed."""
        if self._is_started:
            if self._app is not None:
                waiting_room_of(self._app).close()
            if self._wyoming is not None:
                self._wyoming.stop()
            live_feed_of(self._app).stop()
            self._system.stop()

    def _start_wyoming(self) -> None:
        """Where the settings ask for it; it is imported only then."""
        if self._app is not None:
            from web.adapters.wyoming.listener import WyomingListener

            self._wyoming = WyomingListener(self._system, waiting_room_of(self._app))
            self._wyoming.start()

    def close_live_connections(self) -> None:
        """Ends whatever would go on for as long as the server does. Any thread, at any time."""
        if self._app is not None:
            waiting_room_of(self._app).close()
            live_feed_of(self._app).close_connections()
