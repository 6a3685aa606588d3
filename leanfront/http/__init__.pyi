from .app import create_app
from .keys import Keys
from .server import Server
from .settings import Settings

__all__ = ["Keys", "Server", "Settings", "create_app"]
