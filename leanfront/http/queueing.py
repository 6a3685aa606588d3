"""Queueing work on a search, once; and the answer that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from sqlalchemy import select

from leanfront.core.storage import FrontierStore, Job
from leanfront.core.storage.tables import JobRow, SearchRow
from leanfront.http.answers import answered
from leanfront.http.service import ok

ACCEPTED = ok("Queued, or waiting already", Location="Address of the job.")
"""For the OpenAPI document."""


def queue_once(store: FrontierStore, kind: str, search: str, parameters: Mapping[str, Any]) -> Job:
    """Queue work on a search, unless the same waits or runs already: a client may ask again where it got no answer.

    Two that ask at the same moment may both be queued; what the first has found out is kept for the second.

    Raises:
        NotFoundError: no such search.
    """
    wanted = (
        select(JobRow)
        .join(SearchRow, SearchRow.id == JobRow.search_id)
        .where(SearchRow.name == search, JobRow.kind == kind, JobRow.candidate_id.is_(None))
        .where(JobRow.state.in_(("queued", "running")), ~JobRow.cancelling)
        .order_by(JobRow.id)
    )
    with store.database.reading() as session:
        same = [row.id for row in session.scalars(wanted) if row.parameters == dict(parameters)]
    return store.jobs.job(same[0]) if same else store.jobs.queue(kind, search, parameters=parameters)


def accepted(job: Job) -> Response:
    """The answer of an address that queues a job."""
    return answered(job.to_json(), 202, {"Location": f"/api/v1/jobs/{job.id}"})
