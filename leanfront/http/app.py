"""The FastAPI application: routes, OpenAPI document and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from fastapi import Depends, FastAPI, Request

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.http import openapi, pages
from leanfront.http.gate import SAFE, Gate
from leanfront.http.problems import Problem, install
from leanfront.http.queries import documented
from leanfront.http.service import Service
from leanfront.http.settings import Settings
from leanfront.version import __version__

NOUNS = (
    "health",
    "targets",
    "jobs",
    "searches",
    "events",
    "frontier",
    "selections",
    "coverage",
    "columns",
    "progress",
    "measurements",
    "candidates",
    "neighbours",
    "comparisons",
    "layers",
    "files",
    "verifications",
    "recoveries",
    "audits",
    "audit_arrays",
    "audit_figures",
    "metrics",
)
"""Modules of `leanfront.http.routes`, in the order of the OpenAPI document. Each has a `router`; its JSON models are
in the module of `leanfront.http.schemas` with the same name."""
_DESCRIPTION = """Finds the best compressed version of a trained PyTorch model within a budget.

Responses are the objects that the command line prints with `--json`. Sizes are in bytes; parameters also accept
units (`64KB`, `64KiB`). MACs are multiply-adds per input (`20M`). Errors are RFC 9457 problem details. Lists are
paginated: follow the `Link` header with `rel="next"`. Unknown query parameters are refused."""


def create_app(
    store: FrontierStore, registry: Registry | None = None, settings: Settings | None = None
) -> FastAPI:
    """Create the HTTP API of a store.

    Args:
        store: an open store; the caller closes it.
        registry: targets that can be searched; none by default.
        settings: keys and limits.
    """
    service = Service(store, registry or Registry(), settings or Settings())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="leanfront",
        version=__version__,
        description=_DESCRIPTION,
        # The dashboard has its own page, which loads nothing from other hosts.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        dependencies=[Depends(documented), Depends(_json_only)],
        separate_input_output_schemas=False,
    )
    app.state.service = service
    install(app)
    for noun in NOUNS:
        app.include_router(import_module(f"leanfront.http.routes.{noun}").router)
    app.router.routes.extend(pages.routes())
    document = openapi.document(app)
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.state.parameters = {
        (method.upper(), path): frozenset(
            each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    app.add_middleware(Gate, settings=service.settings, metrics=service.metrics)
    return app


async def _json_only(request: Request) -> None:
    """Refuse bodies that are not JSON: a web page can make a browser send other types to any host."""
    if request.method in SAFE:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if await request.body() and kind != "application/json":
        raise Problem(
            "unsupported-media-type",
            f"the body is of type {kind[:100] or 'none'!r}; send application/json",
            headers={"Accept": "application/json"},
        )
