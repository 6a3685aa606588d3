from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from leanfront.core.storage import Database, FrontierStore, check, open_database, schema, upgrade
from leanfront.errors import StorageError


def pragma(database: Database, name: str) -> Any:
    with database.connection() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def test_sqlite_is_set_up(file_url: str) -> None:
    database = open_database(file_url)
    assert pragma(database, "journal_mode") == "wal"
    assert pragma(database, "foreign_keys") == 1
    assert pragma(database, "synchronous") == 1
    assert pragma(database, "busy_timeout") == 30_000
    database.close()
    database = open_database(f"{file_url}?timeout=2")
    assert pragma(database, "busy_timeout") == 2_000
    assert pragma(database, "journal_mode") == "wal"
    database.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is no database address"),
        ("leanfront.db", r"'leanfront.db' is no database address; write it like sqlite:///leanfront.db"),
        ("postgresql://user:secret@host:port/x", r"'postgresql://user:\*\*\*@host:port/x' is no database"),
        ("mysql://user:secret@host/x", "of the kind 'mysql' are not supported"),
        ("sqlite://", "lives in memory"),
        ("sqlite:///:memory:", "lives in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "lives in memory"),
        ("sqlite+aiosqlite:///x.db", r"needs the Python package aiosqlite|asynchronous driver"),
        ("sqlite+nothing:///x.db", "cannot be used"),
        ("sqlite:///x.db?timeout=soon", "cannot be used"),
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        FrontierStore(url)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # An entry of None makes Python report the package as not installed, whether it is or not.
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(
        StorageError, match=r"needs the Python package psycopg: pip install 'leanfront\[postg"
    ) as caught:
        FrontierStore("postgres://user:secret@localhost/x")
    assert "secret" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"the folder .*/none of the database does not exist: create it"):
        FrontierStore(f"sqlite:///{tmp_path / 'none' / 'x.db'}")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened: check that its folder exists"):
        FrontierStore(f"sqlite:///{tmp_path}")


def test_another_file_is_no_database_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 200)
    with pytest.raises(StorageError, match="is not a SQLite database: name another file"):
        FrontierStore(f"sqlite:///{path}")
    assert path.read_text() == "dear diary, " * 200


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    with FrontierStore(f"sqlite:///{path}") as store:
        assert store.searches() == []


def test_a_damaged_file_is_said_to_be(file_url: str, tmp_path: Path, build: Any) -> None:
    with FrontierStore(file_url) as store:
        build.fill(store, [(0.5, number, number) for number in range(20)])
    path = tmp_path / "leanfront.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"), FrontierStore(file_url) as store:
        store.trials("mine")


def test_a_database_opened_for_reading_is_read_and_refuses_writes(
    file_url: str, tmp_path: Path, build: Any
) -> None:
    with FrontierStore(file_url) as store:
        build.fill(store, [(0.9, 10, 10)])
        expected = store.frontier("mine")
    with FrontierStore(f"sqlite:///file:{tmp_path / 'leanfront.db'}?mode=ro&uri=true") as store:
        assert store.frontier("mine") == expected
        for write in (
            lambda: store.create_search(build.search("other")),
            lambda: store.set_state("mine", "done"),
            lambda: store.record("mine", build.trial(1), build.point(1, 1, 1, 1)),
        ):
            with pytest.raises(StorageError, match="is read-only: make the file and its folder writable"):
                write()
        assert store.frontier("mine") == expected


def test_a_read_only_file_is_read_and_refuses_writes(ordinary_folder: Path, build: Any) -> None:
    path = ordinary_folder / "x.db"
    with FrontierStore(f"sqlite:///{path}") as store:
        build.fill(store, [(0.9, 10, 10)])
    path.chmod(0o444)
    with FrontierStore(f"sqlite:///{path}") as store:
        assert len(store.frontier("mine")) == 1
        with pytest.raises(StorageError, match="is read-only"):
            store.set_state("mine", "done")


def test_a_read_only_folder_is_refused(ordinary_folder: Path, build: Any) -> None:
    path = ordinary_folder / "x.db"
    with FrontierStore(f"sqlite:///{path}"):
        pass
    path.chmod(0o444)
    ordinary_folder.chmod(0o555)
    for name in ("x.db", "new.db"):
        with pytest.raises(StorageError, match=r"you may write there|make the file and its folder writable"):
            FrontierStore(f"sqlite:///{ordinary_folder / name}")


def test_a_full_disk_loses_only_what_did_not_fit(
    file_store: FrontierStore, file_url: str, build: Any
) -> None:
    build.fill(file_store, [(0.5, 10, 10)])
    pages = pragma(file_store.database, "page_count")
    file_store.close()

    # SQLite answers as on a full disk where the file may not grow further.
    def limit(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 6}")

    event.listen(file_store.database.engine, "connect", limit)
    stored = 1

    def fill_up() -> None:
        nonlocal stored
        while True:
            file_store.record(
                "mine", build.trial(stored), build.point(stored, stored / 1e4, 10 - stored / 1e4, 10)
            )
            stored += 1

    with pytest.raises(StorageError, match="is full, or the disk is: nothing of this change was stored"):
        fill_up()
    assert len(file_store.trials("mine")) == file_store.search("mine").trials == stored
    file_store.close()
    report = check(file_url)
    assert report.ok, report.problems
    # With room again, it goes on where it stopped.
    event.remove(file_store.database.engine, "connect", limit)
    file_store.record("mine", build.trial(stored), build.point(stored, 1.0, 1, 1))
    assert file_store.search("mine").trials == stored + 1


def test_a_disk_that_is_full_from_the_start(file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def limit(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA max_page_count = 3")

    from leanfront.core.storage import database

    made = database._engine

    def engine(*arguments: Any) -> Any:
        small = made(*arguments)
        event.listen(small, "connect", limit)
        return small

    monkeypatch.setattr(database, "_engine", engine)
    with pytest.raises(StorageError, match="is full, or the disk is"):
        FrontierStore(file_url)
    monkeypatch.undo()
    # The half-made schema was undone, so the next attempt succeeds.
    with FrontierStore(file_url) as store:
        assert store.searches() == []


def test_a_busy_database_is_said_to_be(file_url: str, build: Any) -> None:
    with FrontierStore(f"{file_url}?timeout=0.1") as store, FrontierStore(file_url) as other:
        store.create_search(build.search())
        with other.database.writing() as session:
            session.execute(text("UPDATE leanfront_searches SET message = 'held'"))
            with pytest.raises(StorageError, match="is being written by another process"):
                store.set_state("mine", "done")
            # Readers go on, and see what was committed.
            assert store.search("mine").message is None
        assert store.search("mine").message == "held"


def test_writers_wait_for_one_another(store: FrontierStore, url: str, build: Any) -> None:
    """A transaction that reads before it writes must not fail because another wrote in between."""
    store.create_search(build.search())
    barrier = threading.Barrier(2)
    errors: list[BaseException] = []

    def work(state: str) -> None:
        with FrontierStore(url) as own:
            barrier.wait()
            try:
                for _ in range(30):
                    own.set_state("mine", state)
            except StorageError as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(state,)) for state in ("running", "done")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_opening_a_fresh_database_from_several_threads(bare_url: str) -> None:
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def work() -> None:
        barrier.wait()
        try:
            FrontierStore(bare_url).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert check(bare_url).ok


def test_an_error_inside_undoes_the_transaction(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())

    def fail() -> None:
        with store.database.writing() as session:
            session.execute(text("UPDATE leanfront_searches SET message = 'half'"))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert store.search("mine").message is None


def test_upgrade_makes_a_fresh_database(bare_url: str) -> None:
    assert upgrade(bare_url) == (None, schema.head())
    assert upgrade(bare_url) == (schema.head(), schema.head())
    assert check(bare_url).ok


def test_paths_with_strange_characters(tmp_path: Path, build: Any) -> None:
    folder = tmp_path / "100% größe ✓"
    folder.mkdir()
    url = f"sqlite:///{folder / 'my data.db'}"
    with FrontierStore(url) as store:
        build.fill(store, [(0.9, 10, 10)])
    assert (folder / "my data.db").is_file()
    assert check(url).ok
