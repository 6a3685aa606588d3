"""The dashboard's pages and assets; they contain no data and need no key."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from string import Template
from typing import NamedTuple

from fastapi import Request, Response
from starlette.routing import BaseRoute, Route

from leanfront.http.answers import has_tag
from leanfront.http.problems import Problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of pages: run our own files, call our own server, show images inside documents."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Page(NamedTuple):
    """Parameters of a page: its title until its script sets a better one, the folder of its modules (``page.js`` is
    the entry point), and its style."""

    title: str
    folder: str
    style: str


_AUDITS = Page("Audits", "audits", "audits")
PAGES = {
    "/": Page("Searches", "searches", "searches"),
    "/searches/{name}": Page("Frontier", "explorer", "explorer"),
    "/searches/{name}/audits": _AUDITS,
    "/searches/{name}/audits/{kind}": _AUDITS,
    "/searches/{name}/geometry": Page("Geometry", "geometry", "geometry"),
    "/candidates/{id}": Page("Candidate", "candidate", "candidate"),
    "/candidates/{id}/audits": _AUDITS,
    "/candidates/{id}/audits/{kind}": _AUDITS,
    "/compare": Page("Compare", "compare", "candidate"),
    "/docs": Page("API", "docs", "docs"),
}
"""Address -> page. The rest of an address is the page's own state."""
FOLDERS = ("/assets/", "/searches/", "/candidates/")
"""Prefixes of addresses that belong to the dashboard alone."""
_OURS = ("js", "style", "vendor")
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_REVALIDATE = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"
_PACKED = ".gz"
_SENT = (".js", ".css", ".svg", _PACKED)
_IMPORT = re.compile(r'from "(\.{1,2}/[^"]+)"')


@dataclass(frozen=True)
class Asset:
    """A file ready to be sent.

    Args:
        kind: media type.
        packed: content, compressed with gzip.
        lasting: whether the name changes with the content.
    """

    kind: str
    packed: bytes
    lasting: bool

    @cached_property
    def plain(self) -> bytes:
        """Uncompressed content, for clients that do not accept gzip."""
        return gzip.decompress(self.packed)

    @cached_property
    def tag(self) -> str:
        """Entity tag."""
        return f'W/"{hashlib.sha256(self.packed).hexdigest()[:32]}"'

    def response(self, request: Request) -> Response:
        """Return the response to a request: 304 if the client already has the file."""
        headers = {
            **HEADERS,
            "ETag": self.tag,
            "Vary": "Accept-Encoding",
            "Cache-Control": _FOR_EVER if self.lasting else _REVALIDATE,
        }
        if has_tag(request.headers.get("if-none-match"), self.tag.removeprefix("W/")):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                self.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.kind
            )
        return Response(self.plain, headers=headers, media_type=self.kind)


def modules(path: str) -> list[str]:
    """Return a module and all its direct and indirect imports, as paths below ``/assets/``."""
    found = [path]
    for each in found:
        found += [other for other in imported(each) if other not in found]
    return found


def imported(path: str) -> list[str]:
    """Return a module's direct imports, as paths below ``/assets/``; browsers resolve them against its address."""
    folder = posixpath.dirname(path)
    named = _IMPORT.findall(assets()[path].plain.decode())
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(folder, each)) for each in named))


@cache
def shell(page: Page) -> Asset:
    """Build a page: the shared shell with the page's script."""
    # Without preloads, a browser would fetch one level of imports after the other.
    script = f"js/{page.folder}/page.js"
    preloads = "\n".join(f'<link rel="modulepreload" href="/assets/{path}">' for path in modules(script))
    template = Template((_root() / "shell.html").read_text(encoding="utf-8"))
    text = template.substitute(page._asdict(), script=script, preloads=preloads)
    return Asset("text/html", gzip.compress(text.encode(), mtime=0), lasting=False)


@cache
def assets() -> dict[str, Asset]:
    """Return all assets by path below ``/assets/``."""
    found = {
        path.removesuffix(_PACKED): _asset(file)
        for folder in _OURS
        for path, file in _files(_root() / folder, folder)
    }
    # Swagger UI from a package: the framework's own page would load it from another host.
    swagger = resources.files("fastapi_swagger") / "resources"
    return found | {f"swagger/{name}": _asset(swagger / name) for name in _SWAGGER}


def _root() -> Traversable:
    return resources.files("leanfront.dashboard")


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """Iterate over the files in a folder and its subfolders, with their paths."""
    for each in folder.iterdir():
        place = f"{path}/{each.name}"
        if each.is_dir():
            yield from _files(each, place)
        elif each.name.endswith(_SENT):
            yield place, each


def _asset(file: Traversable) -> Asset:
    content, name = file.read_bytes(), file.name.removesuffix(_PACKED)
    packed = content if name != file.name else gzip.compress(content, mtime=0)
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
    return Asset(kind or "application/octet-stream", packed, lasting=name != file.name)


def _page_route(path: str, page: Page) -> Route:
    async def endpoint(request: Request) -> Response:
        return shell(page).response(request)

    return _route(path, endpoint)


async def _send_asset(request: Request) -> Response:
    found = assets().get(request.path_params["path"])
    if found is None:
        raise Problem("not-found", "there is no such asset")
    return found.response(request)


def _route(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    async def measured(request: Request) -> Response:
        # FastAPI sets this for its own routes; metrics and the log use it.
        request.scope["route"] = route
        return await endpoint(request)

    route = Route(path, measured, methods=["GET"], include_in_schema=False)
    return route


def routes() -> list[BaseRoute]:
    """Return the dashboard's routes. They accept any query, unlike the API's: it is their state."""
    pages = [_page_route(path, page) for path, page in PAGES.items()]
    return [*pages, _route("/assets/{path:path}", _send_asset)]
