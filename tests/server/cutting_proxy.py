"""A TCP proxy in front of a server that breaks uploads: it cuts them after so many bytes, or lets them hang."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

START_LIMIT_S = 60
STOP_LIMIT_S = 60
READ_BYTES = 16_384
UPLOAD = (b"PATCH /api/uploads/", b"POST /api/tasks")


class CuttingProxy:
    """`with CuttingProxy(port) as proxy:` listens at `proxy.address` until the block ends.

    A connection is an upload's from its first PATCH of a resumable upload, or POST of a recording, on.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._is_ready = threading.Event()
        self._end = asyncio.Event()
        self._budget: int | None = None
        self._hangs = False
        self.has_struck = threading.Event()
        self.uploaded_bytes = 0  # that went to the server, on uploads' connections
        self.port = 0

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        assert self._is_ready.wait(START_LIMIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(STOP_LIMIT_S)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut_after(self, upload_bytes: int) -> None:
        """Once: when so many more bytes of uploads have passed, their connection is reset."""
        self.has_struck.clear()
        self._hangs, self._budget = False, upload_bytes

    def hang_after(self, upload_bytes: int) -> None:
        """Once: after so many bytes nothing passes on that connection any more, and neither side is told."""
        self.cut_after(upload_bytes)
        self._hangs = True

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        await self._end.wait()
        server.close()
        pumps = asyncio.all_tasks() - {asyncio.current_task()}
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close at the loop's next turn

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        pumps = [
            asyncio.ensure_future(each) for each in (self._send(reader, to_server), self._answer(from_server, writer))
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            for pump in pumps:
                pump.cancel()
            results = await asyncio.gather(*pumps, return_exceptions=True)
            is_cut = any(isinstance(result, OSError) for result in results)
            for end in (writer.transport, to_server.transport):
                end.abort() if is_cut else end.close()

    async def _send(self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        is_upload = False
        while data := await reader.read(READ_BYTES):
            is_upload = is_upload or data.startswith(UPLOAD)
            if is_upload:
                data = self._within_budget(data)
                self.uploaded_bytes += len(data)
            to_server.write(data)
            await to_server.drain()
            if is_upload and self._budget == 0:
                self._budget = None
                self.has_struck.set()
                if not self._hangs:
                    raise ConnectionResetError
                await reader.read(-1)  # until the client gives up; the server hears nothing of it

    async def _answer(self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await from_server.read(READ_BYTES):
            writer.write(data)
            await writer.drain()

    def _within_budget(self, data: bytes) -> bytes:
        if self._budget is None:
            return data
        data = data[: self._budget]
        self._budget -= len(data)
        return data
