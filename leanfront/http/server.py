"""Running the API: binding, logging and shutdown."""

from __future__ import annotations

import gc
import json
import logging
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.errors import UsageError
from leanfront.http.app import create_app
from leanfront.http.gate import is_loopback
from leanfront.http.keys import SHORT, VARIABLE, Keys
from leanfront.http.settings import LOG_LEVELS, Settings

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}

log = logging.getLogger("leanfront.http")


class JsonFormatter(logging.Formatter):
    """Log formatter that writes one JSON object per line, including fields passed in ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in _OWN},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json(level: str) -> None:
    """Log to standard error, one JSON object per line.

    Raises:
        UsageError: the level is unknown.
    """
    if level not in LOG_LEVELS:
        raise UsageError(f"unknown log level {level!r}; choose from {', '.join(LOG_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("leanfront.http", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())


class _Uvicorn(uvicorn.Server):
    """Uvicorn server that ends event streams on shutdown, and exits with code 0 after a signal."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A second signal does not wait for running requests.
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


class Server:
    """The API on a socket, which accepts connections at once; `run` answers them.

    Args:
        store: store of the searches.
        registry: targets that can be searched.
        host: name or address to listen on; must be a loopback one without keys.
        port: port to listen on; 0 takes a free one.
        settings: keys and limits.

    Raises:
        UsageError: without keys, others can reach the address; or it cannot be listened on.
    """

    def __init__(
        self,
        store: FrontierStore,
        registry: Registry,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._database = store.url
        self._listener = bind(host, port, self._settings.keys)
        app = create_app(store, registry, self._settings)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=self._settings.shutdown_seconds,
        )
        self._uvicorn = _Uvicorn(config, app.state.service.hub.close)

    @property
    def url(self) -> str:
        """Address of the server, for clients on this machine if it has a loopback address."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def run(self) -> None:
        """Serve until SIGTERM, Ctrl-C or `stop`; then finish running requests and end event streams."""
        keys = self._settings.keys
        log.info(
            "listening",
            extra={
                "url": self.url,
                "docs": f"{self.url}/docs",
                "keys": len(keys.digests),
                "database": self._database,
            },
        )
        if keys.short:
            log.warning("%d API keys have fewer than %d characters: they can be guessed", keys.short, SHORT)
        # Objects created so far are permanent. Scanning them for garbage repeatedly delayed all requests by 170 ms.
        gc.collect()
        gc.freeze()
        try:
            self._uvicorn.run(sockets=[self._listener])
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening; for a server that was not run."""
        self._listener.close()

    def stop(self) -> None:
        """Make `run` end soon; callable from any thread."""
        self._uvicorn.should_exit = True


def bind(host: str, port: int, keys: Keys) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        UsageError: without keys, others can reach the address; or it cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(f"cannot listen on host {host!r}, port {port}: {error}") from None
    # A name may have several addresses, and the server could be reached at each of them.
    addresses = [(family, address) for family, _, _, _, address in found]
    if not keys and not all(is_loopback(str(address[0])) for _, address in addresses):
        raise UsageError(
            f"without API keys only this machine may reach the server, and {host or 'every address'} can be reached "
            f"from others: set {VARIABLE}, or use --host 127.0.0.1"
        )
    for family, address in addresses:
        # asyncio turns off Nagle's algorithm, which would cost 40 ms per answer, only if the protocol is named.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
        else:
            return listener
    raise UsageError(f"cannot listen on {host}:{port}: {reason}")
