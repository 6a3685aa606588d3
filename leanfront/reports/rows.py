"""Lists of candidates, and candidates as flat rows for tables and CSV."""

from __future__ import annotations

from typing import Any, TypeVar

from leanfront.core.search import Candidate

C = TypeVar("C", bound=Candidate)


class Candidates(list[C]):
    """A list of candidates that converts to a table."""

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per candidate: id, measurements, the configuration as text."""
        return [flat(candidate) for candidate in self]

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, one row per candidate. Needs pandas (`pip install leanfront[pandas]`)."""
        try:
            import pandas
        except ImportError:
            raise ImportError("to_pandas() needs pandas: pip install 'leanfront[pandas]'") from None
        return pandas.DataFrame(self.to_records())


def flat(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as one flat row; metrics are named split_metric, costs by their own name."""
    row: dict[str, Any] = {
        "id": candidate.id,
        "search": candidate.search,
        "trial": candidate.number,
        "on_frontier": candidate.on_frontier,
        "verified": candidate.verified,
    }
    for measurement in candidate.measurements:
        prefix = f"{measurement.split}_" if measurement.split else ""
        row[prefix + measurement.name] = measurement.value
        if measurement.low is not None:
            row[f"{prefix}{measurement.name}_low"] = measurement.low
            row[f"{prefix}{measurement.name}_high"] = measurement.high
    row["configuration"] = candidate.configuration.canonical_text()
    return row
