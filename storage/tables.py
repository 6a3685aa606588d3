"""The tables, portable between SQLite and PostgreSQL.

All names begin with ``leanfront_``, so that the tables can share a database with other programs: Optuna's storage,
for example, has a table ``trials``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

VECTOR = ("v0", "v1", "v2", "v3", "v4", "v5")
"""Columns of a frontier member's objective values; a search with m objectives uses the first m."""

# SQLite assigns row ids only to columns of type INTEGER, which hold 64 bits there.
Number = BigInteger().with_variant(Integer, "sqlite")


class UTCDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite has no time zones: times are stored without one and read as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a stored time needs a time zone, {value.isoformat()} has none")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of all tables. Constraints are named by rule, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def table(row: type[Base]) -> Table:
    """Return the table of a mapped class: plain rows cost a tenth of mapped objects."""
    return cast(Table, row.__table__)


class SearchRow(Base):
    """A search. `objectives` is ``[{name, measurement, unit, maximise}, ...]``, so that the database is readable even
    if a user's metric is not registered. `frontier_version` grows with every change of the frontier's members, of
    measurements of stored candidates, and of the search's target: data read at one version is valid as long as the
    version is the same. `measured_version` grows when a stored candidate gets new measurements."""

    __tablename__ = "leanfront_searches"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    target: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    objectives: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    reference: Mapped[dict[str, float]] = mapped_column(JSON)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    seed: Mapped[int] = mapped_column(BigInteger)
    dense: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    coverage: Mapped[dict[str, Any]] = mapped_column(JSON)
    artifact: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    message: Mapped[str | None] = mapped_column(Text)
    trials: Mapped[int] = mapped_column(Integer, default=0)
    frontier_size: Mapped[int] = mapped_column(Integer, default=0)
    hypervolume: Mapped[float] = mapped_column(Double, default=0.0)
    hypervolume_log2: Mapped[float] = mapped_column(Double, default=0.0)
    frontier_version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    measured_version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


_RECOVERED = text("parent IS NOT NULL")


class CandidateRow(Base):
    """An evaluated configuration. `objective_values` are in natural units and the search's order; they are estimates
    for a stopped candidate and null for a failed one. Ids are never reused, even after a deletion, since reports and
    users refer to them."""

    __tablename__ = "leanfront_candidates"
    __table_args__ = (
        UniqueConstraint("search_id", "configuration_digest"),
        Index(None, "search_id", "id"),
        # Recovered candidates are few; this index finds them without reading the others.
        Index(None, "search_id", "parent", sqlite_where=_RECOVERED, postgresql_where=_RECOVERED),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey(SearchRow.id, ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    configuration_digest: Mapped[str] = mapped_column(String(64))
    configuration: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    kept: Mapped[dict[str, list[int]]] = mapped_column(JSON)
    objective_values: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))
    parent: Mapped[int | None] = mapped_column(
        ForeignKey("leanfront_candidates.id", ondelete="SET NULL"), index=True
    )
    seconds: Mapped[float] = mapped_column(Double)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)

    measurements: Mapped[list[MeasurementRow]] = relationship(
        order_by="MeasurementRow.id", passive_deletes=True, lazy="raise"
    )
    membership: Mapped[FrontierRow | None] = relationship(passive_deletes=True, lazy="raise")
    search: Mapped[SearchRow] = relationship(lazy="raise")


class MeasurementRow(Base):
    """A measured number. NaN is stored as null: SQLite cannot hold it, and no limit may accept it.

    `search_id` repeats that of the candidate, so that one index finds the candidates of a search with at most (or at
    least) a given value.
    """

    __tablename__ = "leanfront_measurements"
    __table_args__ = (
        UniqueConstraint("candidate_id", "name", "split"),
        Index(None, "search_id", "name", "split", "value"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey(CandidateRow.id, ondelete="CASCADE"))
    search_id: Mapped[int] = mapped_column(ForeignKey(SearchRow.id, ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    split: Mapped[str] = mapped_column(String(16))
    value: Mapped[float | None] = mapped_column(Double)
    low: Mapped[float | None] = mapped_column(Double)
    high: Mapped[float | None] = mapped_column(Double)
    count: Mapped[int | None] = mapped_column(BigInteger)
    unit: Mapped[str] = mapped_column(String(100))


class TrialRow(Base):
    """A trial of the study; several trials may share a candidate.

    `sequence` counts the trials of a search from 1 in the order they were stored; trial numbers are given when a
    trial begins, and trials end in another order. `entered` is whether the trial put its candidate on the frontier.
    """

    __tablename__ = "leanfront_trials"
    __table_args__ = (UniqueConstraint("search_id", "sequence"),)

    search_id: Mapped[int] = mapped_column(ForeignKey(SearchRow.id, ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    parameters: Mapped[dict[str, int]] = mapped_column(JSON)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
    candidate_id: Mapped[int] = mapped_column(ForeignKey(CandidateRow.id, ondelete="CASCADE"), index=True)
    duplicate: Mapped[bool] = mapped_column(Boolean)
    sequence: Mapped[int] = mapped_column(Integer)
    entered: Mapped[bool] = mapped_column(Boolean)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class FrontierRow(Base):
    """A member of a weak frontier, with objective values in minimisation form.

    A search has two frontiers: that of the candidates without a parent, and that of all. `strict_before` and
    `strict_after` are whether no member of the respective one dominates this candidate; null if it is no member. They
    are equal until something is recovered.

    `correct` is which validation samples a strict member of the first frontier classifies correctly, packed eight to
    a byte. Candidates race against it. Queries do not load it.
    """

    __tablename__ = "leanfront_frontier"
    __table_args__ = (
        Index(None, "search_id", "v0", "v1"),
        Index(None, "search_id", "strict_before"),
    )

    candidate_id: Mapped[int] = mapped_column(
        ForeignKey(CandidateRow.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    search_id: Mapped[int] = mapped_column(ForeignKey(SearchRow.id, ondelete="CASCADE"))
    v0: Mapped[float] = mapped_column(Double)
    v1: Mapped[float] = mapped_column(Double)
    v2: Mapped[float | None] = mapped_column(Double)
    v3: Mapped[float | None] = mapped_column(Double)
    v4: Mapped[float | None] = mapped_column(Double)
    v5: Mapped[float | None] = mapped_column(Double)
    strict_before: Mapped[bool | None] = mapped_column(Boolean)
    strict_after: Mapped[bool | None] = mapped_column(Boolean)
    correct: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class ArtifactRow(Base):
    """A file in the artifact folder: digest, kind and length."""

    __tablename__ = "leanfront_artifacts"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(100))
    bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class CandidateArtifactRow(Base):
    """A candidate's file in a format. The artifact folder keeps a file as long as a row here, or a search as its
    dense weights, names it."""

    __tablename__ = "leanfront_candidate_artifacts"

    candidate_id: Mapped[int] = mapped_column(
        ForeignKey(CandidateRow.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    format: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey(ArtifactRow.digest), index=True)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    # Whether the file was made again after the candidate had been measured: last digits of its weights may differ.
    remade: Mapped[bool] = mapped_column(server_default=false())


class VerificationRow(Base):
    """Result of the latest verification of a candidate; `release` is the release that verified it."""

    __tablename__ = "leanfront_verifications"

    candidate_id: Mapped[int] = mapped_column(
        ForeignKey(CandidateRow.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    ok: Mapped[bool] = mapped_column(Boolean)
    claims: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    unchecked: Mapped[dict[str, str]] = mapped_column(JSON)
    release: Mapped[str] = mapped_column(String(50))
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class AuditRow(Base):
    """Result of the latest audit of one kind, of a candidate or of the whole search (`candidate_id` is null)."""

    __tablename__ = "leanfront_audits"
    __table_args__ = (
        Index(None, "search_id", "kind"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey(SearchRow.id, ondelete="CASCADE"))
    candidate_id: Mapped[int | None] = mapped_column(
        ForeignKey(CandidateRow.id, ondelete="CASCADE"), index=True
    )
    kind: Mapped[str] = mapped_column(String(32))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    release: Mapped[str] = mapped_column(String(50))
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


PENDING = text("state IN ('queued', 'running') AND NOT cancelling")
"""Condition for jobs that are queued or running. Index and queries must use the same text, or the index is unused."""


class JobRow(Base):
    """Work for a runner. The runner holds a lease until `lease_until` by the database's clock; `token` grows with
    every claim, and writes under an older token are refused. A `local` job is driven by the process that created it;
    no worker takes it. `mark` is the job's progress at its last claim. `digest` identifies the work: of equal jobs at
    most one is queued or running. It is null for jobs that drive a search."""

    __tablename__ = "leanfront_jobs"
    __table_args__ = (
        Index(None, "state", "lease_until"),
        Index(None, "search_id", "kind"),
        Index(None, "digest", unique=True, sqlite_where=PENDING, postgresql_where=PENDING),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    search_id: Mapped[int] = mapped_column(ForeignKey(SearchRow.id, ondelete="CASCADE"))
    candidate_id: Mapped[int | None] = mapped_column(
        ForeignKey(CandidateRow.id, ondelete="CASCADE"), index=True
    )
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    local: Mapped[bool] = mapped_column(Boolean, default=False)
    state: Mapped[str] = mapped_column(String(16))
    message: Mapped[str | None] = mapped_column(Text)
    cancelling: Mapped[bool] = mapped_column(Boolean, default=False)
    runner: Mapped[str | None] = mapped_column(String(200))
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    mark: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    ended: Mapped[datetime | None] = mapped_column(UTCDateTime)
    digest: Mapped[str | None] = mapped_column(String(64))


class RunnerRow(Base):
    """A runner, present or past; `seen` is when it last reported."""

    __tablename__ = "leanfront_runners"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    version: Mapped[str] = mapped_column(String(50))
    kinds: Mapped[list[str]] = mapped_column(JSON)
    started: Mapped[datetime] = mapped_column(UTCDateTime)
    seen: Mapped[datetime] = mapped_column(UTCDateTime)
