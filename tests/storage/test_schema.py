from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect

from storage import FrontierStore, check, open_database, schema, upgrade
from storage.tables import Base
from targets.errors import SchemaError, StorageError

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("leanfront_searches") as table:
        table.add_column(sa.Column("colour", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("leanfront_searches") as table:
        table.drop_column("colour")
"""


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A release with one more migration; `undo` goes back to this one."""
    scripts = tmp_path / "100% migrations"
    shutil.copytree(schema.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "v0003_colour.py").write_text(NEXT)
    monkeypatch.setattr(schema, "SCRIPTS", scripts)
    return monkeypatch


def differences(connection: Connection) -> list[Any]:
    options = {
        "version_table": schema.VERSION_TABLE,
        "include_object": schema.is_ours,
        "compare_server_default": True,
    }
    return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)


def test_models_and_migrations_agree(store: FrontierStore) -> None:
    with store.database.connection() as connection:
        assert differences(connection) == []
        names = set(inspect(connection).get_table_names())
    assert names - {"sqlite_sequence"} == {*Base.metadata.tables, schema.VERSION_TABLE}


def test_foreign_keys_agree(store: FrontierStore) -> None:
    """Alembic does not compare what happens on deletion; SQLite tells."""
    with store.database.connection() as connection:
        for table in Base.metadata.sorted_tables:
            made = {
                (tuple(key["constrained_columns"]), key["referred_table"], key["options"].get("ondelete"))
                for key in inspect(connection).get_foreign_keys(table.name)
            }
            meant = {
                (tuple(key.column_keys), key.referred_table.name, key.ondelete)
                for key in table.foreign_key_constraints
            }
            assert made == meant, table.name


def test_the_first_version_can_be_undone(url: str) -> None:
    database = open_database(url)
    config = schema.configuration()
    with database.connection(write=True) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert set(inspect(connection).get_table_names()) <= {schema.VERSION_TABLE, "sqlite_sequence"}
    database.close()
    with FrontierStore(url) as store:
        assert store.searches() == []


def test_an_older_schema_is_refused_until_it_is_upgraded(
    url: str, build: Any, next_release: pytest.MonkeyPatch
) -> None:
    later, next_scripts = schema.SCRIPTS, schema.SCRIPTS
    with next_release.context() as now:
        now.setattr(schema, "SCRIPTS", Path(schema.__file__).parent / "migrations")
        with FrontierStore(url) as store:
            build.fill(store, [(0.9, 10, 10), (0.5, 5, 5)])
            before = store.frontier("mine")
    assert schema.SCRIPTS == later == next_scripts
    with pytest.raises(
        SchemaError, match=r"version 0002, this release needs 0003.*leanfront database upgrade"
    ):
        FrontierStore(url)
    report = check(url)
    assert (report.ok, report.schema, report.head) == (False, "0002", "0003")
    assert "leanfront database upgrade" in report.problems[0]
    assert upgrade(url) == ("0002", "0003")
    with FrontierStore(url) as store:
        assert store.frontier("mine") == before
    assert check(url).ok


def test_the_first_version_is_upgraded_with_what_it_holds(url: str, build: Any) -> None:
    with FrontierStore(url) as store:
        build.fill(store, [(0.9, 10, 10), (0.5, 5, 5), (0.4, 6, 6)])
        before = store.frontier("mine"), store.trials("mine")
        config = schema.configuration()
        with store.database.connection(write=True) as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0001")
            assert "correct" not in {c["name"] for c in inspect(connection).get_columns("leanfront_frontier")}
    assert upgrade(url) == ("0001", schema.head())
    with FrontierStore(url) as store:
        assert (store.frontier("mine"), store.trials("mine")) == before
        # Nobody races against members of before; new ones are kept for it.
        assert store.correctness("mine") == {}
        made = store.record("mine", build.trial(3), build.point(3, 0.95, 20, 20), b"\x01")
        assert store.correctness("mine") == {made.id: b"\x01"}
        with store.database.connection() as connection:
            assert differences(connection) == []
    assert check(url).ok


def test_an_upgrade_on_opening(url: str, next_release: pytest.MonkeyPatch) -> None:
    with next_release.context() as now:
        now.setattr(schema, "SCRIPTS", Path(schema.__file__).parent / "migrations")
        FrontierStore(url).close()
    FrontierStore(url, upgrade=True).close()
    assert check(url).schema == "0003"


def test_a_newer_schema_is_refused_and_left_alone(
    url: str, tmp_path: Path, next_release: pytest.MonkeyPatch
) -> None:
    FrontierStore(url).close()
    next_release.undo()
    before = (tmp_path / "leanfront.db").read_bytes()
    for attempt in (FrontierStore, upgrade, open_database):
        with pytest.raises(SchemaError, match="schema version 0003, which this release does not know"):
            attempt(url)
    report = check(url)
    assert not report.ok
    assert "update leanfront" in report.problems[0]
    assert (tmp_path / "leanfront.db").read_bytes() == before


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    url: str, build: Any, next_release: pytest.MonkeyPatch
) -> None:
    broken = NEXT.replace("def downgrade", "    op.execute('SELECT * FROM nowhere')\n\n\ndef downgrade")
    with next_release.context() as now:
        now.setattr(schema, "SCRIPTS", Path(schema.__file__).parent / "migrations")
        with FrontierStore(url) as store:
            build.fill(store, [(0.9, 10, 10)])
    (schema.SCRIPTS / "versions" / "v0003_colour.py").write_text(broken)
    with pytest.raises(StorageError, match="no such table: nowhere"):
        upgrade(url)
    next_release.undo()
    with FrontierStore(url) as store:
        assert len(store.frontier("mine")) == 1
    assert check(url).ok


def test_tables_of_our_names_without_a_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE leanfront_trials (a)")
    connection.commit()
    connection.close()
    with pytest.raises(SchemaError, match="has tables leanfront_trials but no schema version"):
        FrontierStore(f"sqlite:///{path}")


def test_a_database_is_shared_with_optuna(url: str, build: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=storage, study_name="theirs", directions=["minimize", "maximize"])
    with FrontierStore(url) as store:
        build.fill(store, [(0.9, 10, 10)])
        study.optimize(lambda trial: (trial.suggest_int("x", 0, 5), 1.0), n_trials=2)
        assert len(optuna.load_study(study_name="theirs", storage=storage).trials) == 2
        assert len(store.frontier("mine")) == 1
        with store.database.connection() as connection:
            assert differences(connection) == []
            assert "trials" in inspect(connection).get_table_names()
    storage.engine.dispose()
    assert check(url).ok


def test_versions_lead_from_one_to_the_next() -> None:
    assert schema.versions()[0] == "0001"
    assert schema.head() == schema.versions()[-1]
