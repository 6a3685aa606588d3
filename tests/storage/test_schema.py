from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect, select

from leanfront.core.objectives import resolve
from leanfront.core.search import SearchOptions
from leanfront.core.storage import Database, FrontierStore, check, open_database, schema, upgrade
from leanfront.core.storage.records import search_row
from leanfront.core.storage.tables import Base
from leanfront.errors import SchemaError, StorageError

LATEST = schema.head()
NEXT = f"{int(LATEST) + 1:04d}"
COLOUR = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{LATEST}"


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
    (scripts / "versions" / f"v{NEXT}_colour.py").write_text(COLOUR)
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


def test_the_first_version_can_be_undone(bare_url: str) -> None:
    database = open_database(bare_url)
    config = schema.configuration()
    with database.connection(write=True) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert set(inspect(connection).get_table_names()) <= {schema.VERSION_TABLE, "sqlite_sequence"}
    database.close()
    with FrontierStore(bare_url) as store:
        assert store.searches() == []


def test_an_older_schema_is_refused_until_it_is_upgraded(
    bare_url: str, build: Any, next_release: pytest.MonkeyPatch
) -> None:
    later, next_scripts = schema.SCRIPTS, schema.SCRIPTS
    with next_release.context() as now:
        now.setattr(schema, "SCRIPTS", Path(schema.__file__).parent / "migrations")
        with FrontierStore(bare_url) as store:
            build.fill(store, [(0.9, 10, 10), (0.5, 5, 5)])
            before = store.frontier("mine")
    assert schema.SCRIPTS == later == next_scripts
    with pytest.raises(
        SchemaError, match=rf"version {LATEST}, this release needs {NEXT}.*leanfront database upgrade"
    ):
        FrontierStore(bare_url)
    report = check(bare_url)
    assert (report.ok, report.schema, report.head) == (False, LATEST, NEXT)
    assert "leanfront database upgrade" in report.problems[0]
    assert upgrade(bare_url) == (LATEST, NEXT)
    with FrontierStore(bare_url) as store:
        assert store.frontier("mine") == before
    assert check(bare_url).ok


SPACE = {
    "bits": [2, 4],
    "activation_bits": "float",
    "sparsity": "none",
    "criterion": "l1",
    "method": "bank",
    "activation_range": "percentile",
    "seed": 3,
}
REQUEST = {
    "trials": 40,
    "minutes": 2.5,
    "objectives": ["accuracy", "memory", "macs"],
    "space": SPACE,
    "sampler": "random",
    "seed": 3,
    "samples": 64,
    "population": None,
    "false_elimination": 0.1,
    "latency": {"backend": "torch", "threads": 2, "batch": 1},
    "recover": 2,
    "recover_minutes": 1.5,
    "metrics": ["mce"],
}
"""Options of a queued search before schema 0008, and in `DESCRIBED` those of one that a runner has begun."""
QUEUED = {"version": 1, "request": REQUEST, "trials": 40, "registered": "mine"}
DESCRIBED = {
    **QUEUED,
    "sampler": "random",
    "population": 11,
    "samples": 64,
    "false_elimination": 0.1,
    "space": {**SPACE, "bounds": {"conv1": {"bits": 4}}},
    "recover": 2,
    "recover_minutes": 1.5,
    "wanted_metrics": ["mce"],
    "cheapest": {"memory_bytes": 1.0, "macs": 2.0},
    "parameters": [["bits", 2]],
}
OPTIONS = SearchOptions(
    trials=40,
    minutes=2.5,
    bits=(2, 4),
    criterion="l1",
    method="bank",
    seed=3,
    sampler="random",
    samples=64,
    false_elimination=0.1,
    latency_backend="torch",
    latency_threads=2,
    latency_batch=1,
    recover=2,
    recover_minutes=1.5,
    metrics=("mce",),
)
CREATED = datetime(2025, 3, 1, 12, tzinfo=UTC)
POINTS = {1: (0.9, 10.0, 10.0), 2: (0.5, 5.0, 5.0), 3: (0.4, 6.0, 6.0)}


def made_by(url: str, version: str, build: Any) -> None:
    """A database as the release of that schema left it, with two searches in it; rows are written by hand."""
    database = Database(url)
    created = CREATED.replace(tzinfo=None) if database.is_sqlite else CREATED
    with database.connection(write=True) as connection:
        config = schema.configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        tables = MetaData()
        tables.reflect(connection)

        def insert(table: str, row: dict[str, Any]) -> None:
            columns = tables.tables[f"leanfront_{table}"].c
            row = {"created": created, **row} if "created" in columns else row
            connection.execute(tables.tables[f"leanfront_{table}"].insert().values(row))

        record = search_row(build.search(), resolve("accuracy,memory,macs"))
        made = {"id", "created", "frontier_version", "measured_version"}
        names = {column.name for column in tables.tables["leanfront_searches"].c} - made
        search = {name: getattr(record, name) for name in names}
        if version < "0008":
            search["settings"] = DESCRIBED
        ended = {"state": "failed", "message": "late", "trials": 4, "frontier_size": 2}
        insert("searches", {**search, **ended, "id": 1})
        insert("searches", {**search, "id": 2, "name": "other", "state": "running"})
        for identifier, point in POINTS.items():
            configuration = build.configuration(identifier)
            own = {"candidate_id": identifier, "search_id": 1}
            candidate = {
                "configuration": configuration.to_json(),
                "configuration_digest": configuration.digest,
                "objective_values": list(point),
                "state": "complete",
                "kept": {},
                "seconds": 1.0,
            }
            insert("candidates", {**candidate, "id": identifier, "search_id": 1, "number": identifier - 1})
            named = zip(("accuracy", "memory_bytes", "macs"), ("validation", "", ""), point, strict=True)
            for name, split, value in named:
                insert("measurements", {**own, "name": name, "split": split, "value": value, "unit": "1"})
            if identifier < 3:
                strict = ("strict",) if version < "0005" else ("strict_before", "strict_after")
                vector = {"v0": -point[0], "v1": point[1], "v2": point[2]}
                insert("frontier", {**own, **vector, **dict.fromkeys(strict, True)})
        # Numbers have gaps where a trial was asked and never told; the last one is a duplicate.
        for number, candidate_id in ((0, 1), (2, 2), (3, 3), (7, 1)):
            trial = {"number": number, "candidate_id": candidate_id, "duplicate": number == 7, "search_id": 1}
            if version >= "0003":
                sequence = (0, 2, 3, 7).index(number) + 1
                trial |= {"sequence": sequence, "entered": sequence < 3}
            insert("trials", {**trial, "parameters": {"bits": number}, "attributes": {}})
        if version >= "0003":
            job = {"kind": "search", "parameters": {}, "local": True, "cancelling": False, "token": 0}
            job |= {"attempts": 0, "mark": 0}
            insert("jobs", {**job, "search_id": 1, "state": "failed", "message": "late"})
            insert("jobs", {**job, "search_id": 2, "state": "running"})
        if not database.is_sqlite:
            # The ids above were given by hand.
            for name in ("searches", "candidates"):
                connection.exec_driver_sql(f"SELECT setval('leanfront_{name}_id_seq', 3)")
    database.close()


@pytest.mark.parametrize("version", schema.versions()[:-1])
def test_every_released_version_is_upgraded_with_what_it_holds(
    bare_url: str, build: Any, version: str
) -> None:
    made_by(bare_url, version, build)
    assert upgrade(bare_url) == (version, schema.head())
    report = check(bare_url)
    assert report.ok, report.problems
    with FrontierStore(bare_url) as store:
        mine, _ = store.searches()
        assert (mine.name, mine.state, mine.message, mine.trials) == ("mine", "failed", "late", 4)
        assert mine.created == CREATED.isoformat()
        assert [(each.id, each.accuracy, each.memory_bytes) for each in store.frontier("mine")] == [
            (2, 0.5, 5.0),
            (1, 0.9, 10.0),
        ]
        assert [
            (each.sequence, each.number, each.duplicate, each.entered) for each in store.events("mine")
        ] == [
            (1, 0, False, True),
            (2, 2, False, True),
            (3, 3, False, False),
            (4, 7, True, False),
        ]
        # Their jobs are nothing for workers, and whoever resumes a search by name takes its own.
        jobs = [store.jobs.of_search(name) for name in ("mine", "other")]
        assert [(job.state, job.local) for job in jobs] == [("failed", True), ("running", True)]
        assert store.jobs.claim("worker", ["search"]) is None
        store.jobs.finish(store.jobs.drive("other", "here"), "done")
        assert store.frontier("mine", stage="before") == store.frontier("mine", stage="after")
        # Nobody races against members of before; new ones are kept for it.
        assert store.correctness("mine") == {}
        made = store.record("mine", build.trial(8), build.point(8, 0.95, 20, 20), b"\x01")
        assert store.correctness("mine") == {made.id: b"\x01"}
        recovered = store.add_recovered(replace(build.point(9, 0.97, 20, 20), parent=made.id))
        assert [each.id for each in store.frontier("mine")] == [2, 1, recovered.id]
        assert [each.id for each in store.frontier("mine", stage="before")] == [2, 1, made.id]
        with store.database.connection() as connection:
            assert differences(connection) == []
    assert check(bare_url).ok


@pytest.mark.parametrize("version", schema.versions()[:-1])
def test_an_upgrade_can_be_undone_and_done_again(bare_url: str, build: Any, version: str) -> None:
    with FrontierStore(bare_url) as store:
        build.fill(store, [(0.9, 10, 10), (0.5, 5, 5), (0.4, 6, 6)])
        before = store.frontier("mine"), store.trials("mine"), store.events("mine")
        store.jobs.queue("audit", "mine")
        with store.database.connection(write=True) as connection:
            config = schema.configuration()
            config.attributes["connection"] = connection
            command.downgrade(config, version)
            tables = inspect(connection).get_table_names()
            assert ("leanfront_verifications" in tables) == (version >= "0004")
            columns = {column["name"] for column in inspect(connection).get_columns("leanfront_frontier")}
            stages = {"strict"} if version < "0005" else {"strict_before", "strict_after"}
            assert stages == {name for name in columns if name.startswith("strict")}
            assert ("leanfront_audits" in tables) == (version >= "0006")
            assert ("leanfront_jobs" in tables) == (version >= "0003")
    assert upgrade(bare_url) == (version, schema.head())
    with FrontierStore(bare_url) as store:
        assert (store.frontier("mine"), store.trials("mine"), store.events("mine")) == before
        queued = {("audit", "queued"): 1} if version >= "0003" else {}
        assert store.jobs.counts() == {("search", "running"): 1, **queued}
        assert store.candidate(1).verified is None
        with store.database.connection() as connection:
            assert differences(connection) == []
    assert check(bare_url).ok


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (QUEUED, OPTIONS),
        (DESCRIBED, replace(OPTIONS, population=11, bounds={"conv1": {"bits": 4}})),
        # Releases before there were races and methods evaluated all, and rounded.
        (
            {
                "version": 1,
                "trials": 40,
                "sampler": "random",
                "population": 10,
                "samples": 64,
                "space": {name: value for name, value in SPACE.items() if name != "method"},
                "parameters": [["bits", 2]],
            },
            SearchOptions(
                trials=40,
                bits=(2, 4),
                criterion="l1",
                method="rounding",
                seed=3,
                sampler="random",
                samples=64,
                population=10,
                false_elimination=0.0,
            ),
        ),
    ],
    ids=["queued", "described", "oldest"],
)
def test_options_of_before_are_stored_once(
    bare_url: str, build: Any, settings: dict[str, Any], expected: SearchOptions
) -> None:
    with FrontierStore(bare_url) as store:
        store.create_search(build.search(settings=settings, seed=3))
        with store.database.connection(write=True) as connection:
            config = schema.configuration()
            config.attributes["connection"] = connection
            # As if it had been written by that release: nothing but the settings is of another form.
            command.stamp(config, "0007")
    assert upgrade(bare_url) == ("0007", schema.head())
    with FrontierStore(bare_url) as store:
        record = store.search("mine")
        assert record.options == expected
        assert record.goal == 40
        assert record.registered == settings.get("registered")
        assert set(record.settings) & set(DESCRIBED) <= {"version", "registered", "cheapest", "parameters"}
        with store.database.connection(write=True) as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0007")
    with Database(bare_url).connection() as connection:
        tables = MetaData()
        tables.reflect(connection)
        (before,) = connection.execute(select(tables.tables["leanfront_searches"].c.settings)).scalars()
    if settings is DESCRIBED:
        assert {**before, "request": None} == {**DESCRIBED, "request": None}
    assert before["request"]["latency"] == settings.get("request", {}).get("latency")
    assert upgrade(bare_url) == ("0007", schema.head())
    with FrontierStore(bare_url) as store:
        assert store.search("mine").options == expected


def test_jobs_queued_before_are_not_queued_again(bare_url: str, build: Any) -> None:
    made_by(bare_url, "0006", build)
    database = Database(bare_url)
    same = {"kinds": ["classes"], "options": {"seed": 0}}
    with database.connection(write=True) as connection:
        tables = MetaData()
        tables.reflect(connection)
        table = tables.tables["leanfront_jobs"]
        row = {"kind": "audit", "search_id": 1, "local": False, "state": "queued", "cancelling": False}
        row |= {"token": 0, "attempts": 0, "mark": 0, "parameters": same}
        row |= {"created": CREATED.replace(tzinfo=None) if database.is_sqlite else CREATED}
        changes = (
            {"state": "done"},
            {"state": "running", "cancelling": True, "runner": "lost", "token": 1},
            {},
            {},  # by two that asked at one moment
            {"candidate_id": 2},
        )
        ids = [
            connection.execute(table.insert().values({**row, **change})).inserted_primary_key[0]
            for change in changes
        ]
    database.close()
    upgrade(bare_url)
    with FrontierStore(bare_url) as store:
        asked = {"options": {"seed": 0}, "kinds": ["classes"]}
        assert store.jobs.queue("audit", "mine", parameters=asked).id == ids[2]
        assert store.jobs.queue("audit", "mine", candidate=2, parameters=asked).id == ids[4]
        assert store.jobs.queue("audit", "other", parameters=asked).id not in ids
        store.jobs.cancel(ids[2])
        # The younger of the two is not known to be the same.
        assert store.jobs.queue("audit", "mine", parameters=asked).id not in ids
        claimed = iter(lambda: store.jobs.claim("worker", ["audit"]), None)
        assert [job.id for job, _ in claimed][:2] == [ids[3], ids[4]]
        assert store.jobs.job(ids[1]).state == "cancelled"


def test_an_upgrade_on_opening(bare_url: str, next_release: pytest.MonkeyPatch) -> None:
    with next_release.context() as now:
        now.setattr(schema, "SCRIPTS", Path(schema.__file__).parent / "migrations")
        FrontierStore(bare_url).close()
    FrontierStore(bare_url, upgrade=True).close()
    assert check(bare_url).schema == NEXT


def test_a_newer_schema_is_refused_and_left_alone(
    file_url: str, tmp_path: Path, next_release: pytest.MonkeyPatch
) -> None:
    FrontierStore(file_url).close()
    next_release.undo()
    before = (tmp_path / "leanfront.db").read_bytes()
    for attempt in (FrontierStore, upgrade, open_database):
        with pytest.raises(SchemaError, match=f"schema version {NEXT}, which this release does not know"):
            attempt(file_url)
    report = check(file_url)
    assert not report.ok
    assert "update leanfront" in report.problems[0]
    assert (tmp_path / "leanfront.db").read_bytes() == before


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    bare_url: str, build: Any, next_release: pytest.MonkeyPatch
) -> None:
    broken = COLOUR.replace("def downgrade", "    op.execute('SELECT * FROM nowhere')\n\n\ndef downgrade")
    with next_release.context() as now:
        now.setattr(schema, "SCRIPTS", Path(schema.__file__).parent / "migrations")
        with FrontierStore(bare_url) as store:
            build.fill(store, [(0.9, 10, 10)])
    (schema.SCRIPTS / "versions" / f"v{NEXT}_colour.py").write_text(broken)
    with pytest.raises(StorageError, match=r"no such table: nowhere|\"nowhere\" does not exist"):
        upgrade(bare_url)
    next_release.undo()
    with FrontierStore(bare_url) as store:
        assert len(store.frontier("mine")) == 1
    assert check(bare_url).ok


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
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
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


def test_processes_that_open_an_empty_database_at_once(bare_url: str) -> None:
    """One makes the tables, the others find them."""
    script = (
        "import sys; from leanfront.core.storage import FrontierStore\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(len(FrontierStore(sys.argv[1]).searches()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, bare_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["0\n"] * 2
    assert check(bare_url).ok
