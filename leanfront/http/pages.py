"""The pages of the dashboard and their assets: files of ours that tell nothing, so that they need no key."""

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
"""What a browser lets a page do: run our own files, ask our own server, and show images that documents carry."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Page(NamedTuple):
    """What is in the shell of a page: its title until its script knows a better one, the folder of its modules, in
    which ``page.js`` is the one that starts it, and its style."""

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
"""Address -> page. What an address says after its path is the page's own state."""
FOLDERS = ("/assets/", "/searches/", "/candidates/")
"""Starts of addresses that belong to the dashboard alone."""
_OURS = ("js", "style", "vendor")
_SWAGGER = ("swagger-ui-bundle.js", "swagger-ui.css")
_REVALIDATE = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"
_PACKED = ".gz"
_SENT = (".js", ".css", ".svg", _PACKED)
_IMPORT = re.compile(r'from "(\.{1,2}/[^"]+)"')


@dataclass(frozen=True)
class Asset:
    """A file as it is sent.

    Args:
        kind: its media type.
        packed: gzipped.
        lasting: whether its name changes with its content.
    """

    kind: str
    packed: bytes
    lasting: bool

    @cached_property
    def plain(self) -> bytes:
        """For the few clients that take nothing gzipped."""
        return gzip.decompress(self.packed)

    @cached_property
    def tag(self) -> str:
        """Its entity tag."""
        return f'W/"{hashlib.sha256(self.packed).hexdigest()[:32]}"'

    def response(self, request: Request) -> Response:
        """The answer to a request: 304 where the client has it already."""
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
    """A module of ours and all that it imports, as paths below ``/assets/``."""
    found = [path]
    for each in found:
        found += [other for other in imported(each) if other not in found]
    return found


def imported(path: str) -> list[str]:
    """What a module of ours imports itself, as paths below ``/assets/``: a browser resolves them against its own."""
    folder = posixpath.dirname(path)
    named = _IMPORT.findall(assets()[path].plain.decode())
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(folder, each)) for each in named))


@cache
def shell(page: Page) -> Asset:
    """A page as it is sent: all of them are one shell around a script."""
    # Without this a browser would ask for one level of imports after the other.
    script = f"js/{page.folder}/page.js"
    preloads = "\n".join(f'<link rel="modulepreload" href="/assets/{path}">' for path in modules(script))
    template = Template((_root() / "shell.html").read_text(encoding="utf-8"))
    text = template.substitute(page._asdict(), script=script, preloads=preloads)
    return Asset("text/html", gzip.compress(text.encode(), mtime=0), lasting=False)


@cache
def assets() -> dict[str, Asset]:
    """All assets by their path below ``/assets/``."""
    found = {
        path.removesuffix(_PACKED): _asset(file)
        for folder in _OURS
        for path, file in _files(_root() / folder, folder)
    }
    # Swagger UI as a package carries it: the framework's own page would load it from elsewhere.
    swagger = resources.files("fastapi_swagger") / "resources"
    return found | {f"swagger/{name}": _asset(swagger / name) for name in _SWAGGER}


def _root() -> Traversable:
    return resources.files("leanfront.dashboard")


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """The files to send in a folder and the folders in it, each with its path."""
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
        # The framework does so for routes of its own: measurements and the log name them.
        request.scope["route"] = route
        return await endpoint(request)

    route = Route(path, measured, methods=["GET"], include_in_schema=False)
    return route


def routes() -> list[BaseRoute]:
    """The dashboard's routes. They take any query, unlike the API's: it is their state."""
    pages = [_page_route(path, page) for path, page in PAGES.items()]
    return [*pages, _route("/assets/{path:path}", _send_asset)]
