"""Pages of a browser, and what no page may do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

PATIENCE = 20_000
"""Milliseconds that anything on a page may take while other tests run beside."""


class Watch:
    """Listens to a page: errors, warnings of the policy, and requests that leave the host.

    Args:
        context: whose pages are listened to.
        host: the only one they may talk to.
    """

    def __init__(self, context: BrowserContext, host: str) -> None:
        self.wrong: list[str] = []
        self.allowed: list[str] = []
        self._host = host
        context.on("console", self._console)
        context.on("weberror", lambda error: self.wrong.append(f"uncaught: {error.error}"))
        context.on("request", self._request)

    def allow(self, part: str) -> None:
        """Expect something that would be wrong elsewhere: what a refused request writes to the console."""
        self.allowed.append(part)

    def check(self) -> None:
        """Raises `AssertionError` where something was wrong."""
        wrong = [each for each in self.wrong if not any(part in each for part in self.allowed)]
        assert not wrong, "\n".join(wrong)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.wrong.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != self._host:
            self.wrong.append(f"request to elsewhere: {request.url}")


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[tuple[Page, Watch]]:
    """A page of a fresh profile on a server; what it may not do fails at the end.

    Args:
        browser: where it opens.
        url: of the server.
        options: of the profile: `viewport`, `color_scheme`, ...
    """
    context = browser.new_context(base_url=url, **{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(PATIENCE)
    watch = Watch(context, urlsplit(url).netloc)
    page = context.new_page()
    try:
        yield page, watch
        watch.check()
    finally:
        context.close()
