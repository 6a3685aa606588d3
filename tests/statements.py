"""What a store asks its database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from leanfront.core.storage import FrontierStore


def statements(store: FrontierStore, call: Callable[[], object]) -> list[tuple[str, Any]]:
    """What a call executes."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, given: Any, context: Any, many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            found.append((statement, given[0] if many else given))

    event.listen(store.database.engine, "before_cursor_execute", note)
    try:
        call()
    finally:
        event.remove(store.database.engine, "before_cursor_execute", note)
    return found
