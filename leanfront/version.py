"""The installed version."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("leanfront")
except PackageNotFoundError:
    # The sources of a checkout, which nobody has installed.
    __version__ = "0+uninstalled"
