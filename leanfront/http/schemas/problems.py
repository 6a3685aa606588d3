"""Pydantic models of problem details."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Error(BaseModel):
    """One error and its place."""

    detail: str
    parameter: str | None = Field(default=None, description="Query parameter.", examples=["limit"])
    pointer: str | None = Field(
        default=None, description="JSON Pointer into the body.", examples=["#/trials"]
    )


class Problem(BaseModel):
    """The reason why a request was refused (RFC 9457)."""

    type: str = Field(
        description="Type shared by all of a kind.", examples=["urn:leanfront:problem:not-found"]
    )
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What is wrong in this case, as text.")
    request_id: str = Field(description="Id under which the server has logged the request.")
    errors: list[Error] | None = Field(default=None, description="All errors; omitted if there is only one.")
