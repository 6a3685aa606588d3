"""Audits as one self-contained HTML file with tables, figures and explanations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from leanfront.core.audit.pieces import Card, Drawing, Gallery, Piece
from leanfront.core.audit.table import Table
from leanfront.core.storage import AuditRecord
from leanfront.errors import UsageError
from leanfront.files import require_html, whole
from leanfront.reports.chapters import Chapter, chapter_of, documents_of, kinds_in_order, title_of


def report(records: Iterable[AuditRecord], path: str | Path) -> None:
    """Write the audits of one search as one self-contained HTML file, atomically.

    Records of single candidates add what the search's own records omit: their galleries. If the search has no record
    of a kind, the candidates' records are shown on their own.

    Args:
        records: records as `SearchResult.audit` and `SearchResult.audits` return them.
        path: an ``.html`` file in an existing folder; an existing file is replaced.

    Raises:
        UsageError: there are no records, they belong to several searches, or the path is no ``.html`` file.
        StorageError: the file cannot be written.
    """
    place = require_html(path, "report")
    text = report_html(records)
    with whole(place) as file:
        file.write(text.encode())


def report_html(records: Iterable[AuditRecord]) -> str:
    """Return the file of `report` as a string.

    Raises:
        UsageError: there are no records, or they belong to several searches.
    """
    from leanfront.reports.audit_page import page

    given = sorted(records, key=lambda each: (_place(each.kind), each.kind, each.candidate or 0))
    names = sorted({each.search for each in given})
    if not names:
        raise UsageError(
            "nothing was audited yet, so there is nothing to report: run `leanfront audit` first"
        )
    if len(names) > 1:
        raise UsageError(f"a report is of one search, not of {', '.join(names)}")
    counter = _Counter()
    sections = [
        _section(chapter_of(kind, list(group)), counter)
        for kind, group in groupby(given, key=lambda each: each.kind)
    ]
    candidates = sorted({each.candidate for each in given if each.candidate is not None})
    of = [f"candidate {each}" for each in candidates]
    about = "" if any(each.candidate is None for each in given) else f" of {', '.join(of)}"
    title = f"Audit{about} of search '{names[0]}'"
    links = [(f"kind-{each.kind}", title_of(each.kind)) for each in _firsts(given)]
    return page(title, _made(given), links, sections, counter.figures)


class _Counter:
    """Numbers the figures of a page and keeps their data."""

    def __init__(self) -> None:
        self.figures: list[tuple[str, str]] = []

    def add(self, drawing: Drawing) -> str:
        identifier = f"figure-{len(self.figures) + 1}"
        text = json.dumps(drawing.plotly(), sort_keys=True, allow_nan=False, separators=(",", ":"))
        # Nothing in a script element may look like its end tag.
        self.figures.append((identifier, text.replace("<", "\\u003c")))
        return identifier


def _section(chapter: Chapter, counter: _Counter) -> str:
    lines = [f'<section id="kind-{escape(chapter.kind)}"><h2>{escape(chapter.title)}</h2>']
    if chapter.reading:
        lines.append(f"<p>{escape(chapter.reading)}</p>")
    if chapter.source:
        lines.append(f'<p class="source">Source: {escape(chapter.source)}.</p>')
    for section in chapter.sections:
        if section.heading:
            lines.append(f"<h3>{escape(section.heading)}</h3>")
        lines += [_table(each) for each in section.tables]
        lines += _pieces(section.pieces, counter)
    return "\n".join([*lines, "</section>"])


def _pieces(pieces: Sequence[Piece], counter: _Counter) -> list[str]:
    """Return the pieces that are always shown, then one fold for each version that has its own."""
    folds: dict[str, list[Piece]] = {}
    for piece in pieces:
        folds.setdefault(piece.fold, []).append(piece)
    lines = _grid(folds.pop("", []), counter)
    for fold, own in folds.items():
        lines += [f"<details><summary>{escape(fold)}</summary>", *_grid(own, counter), "</details>"]
    return lines


def _grid(pieces: Sequence[Piece], counter: _Counter) -> list[str]:
    return ['<div class="figures">', *(_piece(each, counter) for each in pieces), "</div>"] if pieces else []


def _piece(piece: Piece, counter: _Counter) -> str:
    title = escape(piece.title)
    if isinstance(piece, Gallery):
        return f'<figure class="wide"><figcaption>{title}</figcaption>{_gallery(piece)}</figure>'
    identifier = counter.add(piece)
    height = int(piece.figure.layout.height)
    return (
        f'<figure class="{"small" if piece.small else "wide"}"><figcaption>{title}</figcaption>'
        f'<div class="plot" id="{identifier}" role="img" aria-label="{escape(piece.alt)}" '
        f'style="height:{height}px"></div><p class="alt">{escape(piece.alt)}</p></figure>'
    )


def _gallery(gallery: Gallery) -> str:
    cards = "".join(_card(each) for each in gallery.cards)
    note = f"<p>{escape(gallery.note)}</p>" if gallery.note else ""
    return note + (f'<ul class="gallery">{cards}</ul>' if cards else "")


def _card(card: Card) -> str:
    picture = '<div class="nothing">no image</div>'
    if card.image is not None:
        picture = f'<img src="{escape(card.image)}" alt="{escape(card.alt)}" loading="lazy">'
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in card.rows)
    return f"<li>{picture}<dl>{rows}</dl></li>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    # With focus, keys scroll a table that is wider than the page.
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>'
        f"<caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"{note}"
    )


def _made(records: Sequence[AuditRecord]) -> str:
    """Return when, by which release and with which parameters the audits were made."""
    rows = []
    for record in _firsts(records):
        how = json.dumps(record.parameters, sort_keys=True)
        versions = [v["version"] for _, document in documents_of([record]) for v in document["versions"]]
        said = ", ".join(part for part in (record.created, f"leanfront {record.release}".strip()) if part)
        rows.append(
            f"<dt>{escape(title_of(record.kind))}</dt><dd>{escape(said)}<br>versions: "
            f"{escape(', '.join(map(str, versions)) or 'the dense model alone')}<br><code>{escape(how)}</code></dd>"
        )
    return f"<details><summary>How these audits were made</summary><dl>{''.join(rows)}</dl></details>"


def _firsts(records: Sequence[AuditRecord]) -> list[AuditRecord]:
    """Return the first record of each kind: the search's if there is one."""
    return [next(group) for _, group in groupby(records, key=lambda each: each.kind)]


def _place(kind: str) -> int:
    known = kinds_in_order()
    return known.index(kind) if kind in known else len(known)
