"""The page of `siman-camera`, by Tornado: one thread serves all who look, and each drops the views
that it is too slow for. It is a single package without others, and Debian has it too."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tornado import netutil, web
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError

from siman_runtime.watching import View, Watcher

__all__ = ["serve"]

_LOCAL = ("127.0.0.1", "localhost", "::1")


class Views:
    """The newest `View`, for all who wait for it; belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._newest = View()
        self._is_new = asyncio.Event()
        self._are_ended = False

    def show(self, view: View) -> None:
        self._newest = view
        self._is_new.set()
        self._is_new = asyncio.Event()

    def end(self) -> None:
        self._are_ended = True
        self._is_new.set()

    async def follow(self) -> AsyncIterator[View]:
        """Who is slow misses some."""
        while not self._are_ended:
            seen, is_new = self._newest, self._is_new
            yield seen
            if self._newest is seen:
                await is_new.wait()


class _Page(web.RequestHandler):
    def get(self) -> None:
        self.write(Path(__file__).with_name("camera.html").read_text("utf-8"))


class _Following(web.RequestHandler):
    """Sends what there is to send of each view, until nobody listens."""

    kind = ""
    opening = b""

    def initialize(self, views: Views) -> None:
        self._views = views

    def set_default_headers(self) -> None:
        self.set_header("Content-Type", self.kind)
        self.set_header("Cache-Control", "no-store")
        # Pages of others may not show it.
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")

    def part(self, view: View) -> bytes:
        raise NotImplementedError

    async def get(self) -> None:
        self.write(self.opening)
        try:
            async for view in self._views.follow():
                self.write(self.part(view))
                await self.flush()
        except StreamClosedError:
            pass


class _Stream(_Following):
    kind = "multipart/x-mixed-replace; boundary=picture"
    # What begins the next part ends one: browsers show a picture once they know that it is whole.
    opening = b"--picture\r\n"

    def part(self, view: View) -> bytes:
        if not view.jpeg:
            return b""
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(view.jpeg)}\r\n\r\n"
        return head.encode() + view.jpeg + b"\r\n" + self.opening


class _Events(_Following):
    kind = "text/event-stream"

    def part(self, view: View) -> bytes:
        return f"data: {view.event}\n\n".encode() if view.best or view.error else b""


def _application(views: Views, host: str) -> web.Application:
    handlers: list[Any] = [
        ("/", _Page),
        ("/stream", _Stream, {"views": views}),
        ("/events", _Events, {"views": views}),
    ]
    application = web.Application()
    # A name of somebody else's that leads to this machine is no way in.
    pattern = r"(127\.0\.0\.1|localhost|\[::1\])" if host in _LOCAL else ".*"
    application.add_handlers(pattern, handlers)
    return application


async def serve(host: str, port: int, watch: Callable[[Callable[[View], None]], Watcher]) -> None:
    """Shows views until the process is told to end.

    # Arguments
        host: Name or address of this machine.
        port: 0 takes one that is free.
        watch: Makes a watcher of what it calls with each view.

    # Raises
        OSError: If the port is not to be had, or the camera.
    """
    views, loop, ends = Views(), asyncio.get_running_loop(), asyncio.Event()
    try:
        sockets = netutil.bind_sockets(port, host)
    except OSError as error:
        raise OSError(f"--host {host} --port {port}: {error.strerror}.") from None

    def show(view: View) -> None:
        loop.call_soon_threadsafe(views.show, view)

    watcher = watch(show)
    server = HTTPServer(_application(views, host))
    server.add_sockets(sockets)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ends.set)
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{sockets[0].getsockname()[1]}/", flush=True)
    if host not in _LOCAL:
        print("Whoever reaches this machine sees the pictures.", flush=True)
    watching = loop.run_in_executor(None, watcher.run)
    watching.add_done_callback(lambda _: ends.set())
    await ends.wait()
    watcher.end()
    views.end()
    server.stop()
    await server.close_all_connections()
    await watching
