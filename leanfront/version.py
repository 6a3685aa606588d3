"""The installed version."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("leanfront")
except PackageNotFoundError:
    # A checkout that is not installed.
    __version__ = "0+uninstalled"
