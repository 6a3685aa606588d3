from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from leanfront.core.storage import FrontierStore
from leanfront.core.storage.tables import ArtifactRow, Base, UTCDateTime, now
from leanfront.errors import StorageError


def test_times_are_stored_in_utc(store: FrontierStore) -> None:
    local = datetime(2025, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=5)))
    with store.database.writing() as session:
        session.add(ArtifactRow(digest="d", kind="k", bytes=1, created=local))
    with store.database.reading() as session:
        found = session.scalars(select(ArtifactRow.created)).one()
    assert found == local
    assert found.tzinfo is UTC
    assert now().tzinfo is UTC


def test_a_time_without_a_zone_is_refused(store: FrontierStore) -> None:
    with pytest.raises(StorageError, match="needs a time zone"), store.database.writing() as session:
        session.add(ArtifactRow(digest="d", kind="k", bytes=1, created=datetime(2025, 3, 1)))


def test_postgresql_gets_and_gives_aware_times() -> None:
    dialect: Any = postgresql.dialect()
    kind = UTCDateTime()
    local = datetime(2025, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=5)))
    bound = kind.process_bind_param(local, dialect)
    assert bound is not None
    assert bound.tzinfo is UTC
    assert kind.process_result_value(local, dialect) == local
    assert kind.process_bind_param(None, dialect) is kind.process_result_value(None, dialect) is None


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
def test_all_tables_can_be_written_in_both_dialects(dialect: Any) -> None:
    for table in Base.metadata.sorted_tables:
        assert table.name.startswith("leanfront_")
        statement = str(CreateTable(table).compile(dialect=dialect))
        assert table.name in statement
        for index in table.indexes:
            # PostgreSQL cuts names at 63 bytes, and two cut ones may clash.
            assert len(str(index.name)) <= 63
            assert table.name in str(CreateIndex(index).compile(dialect=dialect))
        for constraint in table.constraints:
            assert len(str(constraint.name)) <= 63


def test_an_id_is_not_used_twice(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 10, 10), (0.5, 5, 5)])
    last = max(each.id or 0 for each in store.candidates("mine"))
    with store.database.writing() as session:
        session.connection().exec_driver_sql("DELETE FROM leanfront_searches")
    store.create_search(build.search())
    # Everything of the search went with it.
    assert store.trials("mine") == list(store.candidates("mine", failed=True)) == store.frontier("mine") == []
    made = store.record("mine", build.trial(0), build.point(0, 0.9, 10, 10))
    assert (made.id or 0) > last
