"""Labelled texts in tables: comma- or tab-separated values, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from leanfront.errors import TargetError

SPLITS = ("validation", "calibration", "test", "train")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table.

    Args:
        text: text.
        label: name or number of the class.
        pair: second text, or None.
    """

    text: str
    label: str
    pair: str | None = None


@dataclass(frozen=True)
class Texts:
    """Texts of one split.

    Args:
        texts: n texts.
        pairs: n second texts, or None.
        labels: n names or numbers of classes, as written.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: Sequence[str]


def _separated(delimiter: str) -> Callable[[TextIO], Iterable[Mapping[str, Any]]]:
    return lambda file: csv.DictReader(file, delimiter=delimiter)


def _json_lines(file: TextIO) -> Iterator[Mapping[str, Any]]:
    return (json.loads(line) for line in file if line.strip())


FORMATS: dict[str, Callable[[TextIO], Iterable[Mapping[str, Any]]]] = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".jsonl": _json_lines,
}
"""File extension -> reader of rows."""


def read_tables(folder: str | Path, columns: Columns) -> dict[str, Texts]:
    """Read the tables ``validation``, ``test``, ``train`` and ``calibration`` of a folder that exist.

    Raises:
        TargetError: no folder, no table for validation, two tables for one split, or a row that cannot be read.
    """
    place = Path(folder)
    if not place.is_dir():
        raise TargetError(f"data: there is no folder '{place}'")
    found: dict[str, Texts] = {}
    for split in SPLITS:
        paths = [path for kind in FORMATS if (path := place / f"{split}{kind}").is_file()]
        if len(paths) > 1:
            raise TargetError(f"data: '{place}' has {paths[0].name} and {paths[1].name}; keep one of them")
        if paths:
            found[split] = _read(paths[0], columns)
    if "validation" not in found:
        names = " or ".join(f"validation{kind}" for kind in FORMATS)
        raise TargetError(f"data: '{place}' has no {names}")
    return found


def _read(path: Path, columns: Columns) -> Texts:
    texts, pairs, labels = [], [], []
    wanted = [columns.text, columns.label, *([] if columns.pair is None else [columns.pair])]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(FORMATS[path.suffix](file), 1):
                lacking = [name for name in wanted if not isinstance(row, Mapping) or row.get(name) is None]
                if lacking:
                    has = ", ".join(map(str, row)) if isinstance(row, Mapping) else type(row).__name__
                    raise TargetError(
                        f"data: row {number} of '{path}' has no {lacking[0]!r}, but {has}; name the columns with "
                        "text=, pair= and label="
                    )
                texts.append(str(row[columns.text]))
                labels.append(str(row[columns.label]).strip())
                if columns.pair is not None:
                    pairs.append(str(row[columns.pair]))
    except (OSError, ValueError, csv.Error) as error:
        raise TargetError(f"data: '{path}' cannot be read: {error}") from error
    if not texts:
        raise TargetError(f"data: '{path}' has no rows")
    return Texts(texts, pairs if columns.pair is not None else None, labels)
