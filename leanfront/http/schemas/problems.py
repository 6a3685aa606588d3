"""The JSON of problems, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Error(BaseModel):
    """One thing that is wrong, and where."""

    detail: str
    parameter: str | None = Field(default=None, description="Of the address.", examples=["limit"])
    pointer: str | None = Field(
        default=None, description="JSON Pointer into the body.", examples=["#/trials"]
    )


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(description="The same for all of a kind.", examples=["urn:leanfront:problem:not-found"])
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What was wrong this time, for people.")
    request_id: str = Field(description="The id under which the server has logged the request.")
    errors: list[Error] | None = Field(
        default=None, description="All that is wrong; absent when it is one thing."
    )
