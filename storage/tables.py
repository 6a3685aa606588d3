"""The tables, typed. Portable between SQLite and PostgreSQL.

Every name starts with ``leanfront_``, so that the tables may share a database with other programs: Optuna's
storage, for one, has a table ``trials`` of its own.
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
"""Columns of a frontier member's objectives; a search with m objectives uses the first m."""

# SQLite numbers rows by itself only in a column of the type INTEGER; it holds 64 bits all the same.
Number = BigInteger().with_variant(Integer, "sqlite")


class UTCDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite has no time zones: there it is stored without one and read as UTC."""

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
    """The present time in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables of this release. Constraints are named by rule: a migration must be able to name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def table(row: type[Base]) -> Table:
    """The table of a mapped class: plain rows cost a tenth of mapped objects."""
    return cast(Table, row.__table__)


class SearchRow(Base):
    """A search. `objectives` is ``[{name, measurement, unit, maximise}, ...]``: the database must be readable
    where a user's own metric is not registered. `frontier_version` grows with every change of the frontier's
    members, of what is measured on stored candidates, and of what the search is about: what was read of the
    frontier at one version still holds at the same. `measured_version` grows when something is measured anew on a
    stored candidate."""

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
    """An evaluated configuration. `objective_values` are in natural units, in the search's order: estimates
    where it was stopped, null where it failed. Ids are never used twice, even after a deletion: reports and
    users refer to them."""

    __tablename__ = "leanfront_candidates"
    __table_args__ = (
        UniqueConstraint("search_id", "configuration_digest"),
        Index(None, "search_id", "id"),
        # The recovered ones of a search are few, and found without a look at the others.
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
    """A measured number. NaN is stored as null: SQLite cannot hold it, and no limit may hold for it.

    `search_id` repeats the candidate's, so that one index answers "which candidates of this search have at
    most this much of that".
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
    """One trial of the study; several may share a candidate.

    `sequence` counts a search's trials as they were stored, from 1: numbers are given when a trial is asked,
    and trials end in another order. `entered` says whether its candidate came onto the frontier with it.
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
    """A member of a weak frontier, objectives in minimisation form.

    A search has two: among the candidates that nobody recovered, and among all. `strict_before` and `strict_after`
    say of each whether nothing on it dominates the member; null where it is no member. As long as nothing is
    recovered they are equal.

    `correct` says which validation samples a strict member of the first gets right, packed eight to a byte:
    candidates race against it. Queries do not load it.
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
    """A file in the artifact folder: its content hash, what it is, and its length."""

    __tablename__ = "leanfront_artifacts"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(100))
    bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class CandidateArtifactRow(Base):
    """A candidate's file in a format. A file in the artifact folder is kept for as long as a row here names it, or
    a search does as its dense weights."""

    __tablename__ = "leanfront_candidate_artifacts"

    candidate_id: Mapped[int] = mapped_column(
        ForeignKey(CandidateRow.id, ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    format: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey(ArtifactRow.digest), index=True)
    created: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    # Whether it was made after the candidate had been measured: its weights may be others in their last steps.
    remade: Mapped[bool] = mapped_column(server_default=false())


class VerificationRow(Base):
    """What came of the last verification of a candidate; `release` is the one that verified."""

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
    """What an audit of one kind found last: of a candidate, or of a search as a whole (`candidate_id` is null)."""

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
"""Jobs that will be done, or are being done: in these words in the index and in queries, or it would not be used."""


class JobRow(Base):
    """Work for a runner. Who runs it holds a lease until `lease_until` by the database's clock; `token` grows
    with every claim, and what is written under an older one is refused. A `local` job is driven by the process
    that made it: no worker takes it. `mark` is how far the job was at its last claim. `digest` is of what is to be
    done: of equal ones at most one waits or runs. It is null where a search is driven."""

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
    """A runner that is there, or was: `seen` is its last sign of life."""

    __tablename__ = "leanfront_runners"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    version: Mapped[str] = mapped_column(String(50))
    kinds: Mapped[list[str]] = mapped_column(JSON)
    started: Mapped[datetime] = mapped_column(UTCDateTime)
    seen: Mapped[datetime] = mapped_column(UTCDateTime)
