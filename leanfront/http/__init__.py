"""The HTTP API over a store: `create_app` makes it, `Server` runs it."""

from leanfront.http.app import create_app
from leanfront.http.keys import Keys
from leanfront.http.server import Server
from leanfront.http.settings import Settings

__all__ = ["Keys", "Server", "Settings", "create_app"]
