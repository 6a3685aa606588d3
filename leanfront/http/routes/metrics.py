"""Route for metrics of the server and its database."""

from __future__ import annotations

from fastapi import APIRouter, Response

from leanfront.http.metrics import CONTENT_TYPE
from leanfront.http.openapi import problems
from leanfront.http.service import Ours

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={**problems(), 200: {"content": {"text/plain": {}}}},
)
async def metrics(service: Ours) -> Response:
    """Return metrics in Prometheus's text format."""
    text = await service.read(service.metrics.text)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)
