"""A structure as a JSON document, for the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from leanfront.core.compressors.structure.structure import ChannelGroup, Member, Part, Structure


def to_json(structure: Structure) -> bytes:
    """Return a structure as UTF-8 JSON."""
    groups = [
        [group.name, group.units, [[m.part, m.side, m.indices] for m in group.members]]
        for group in structure.groups.values()
    ]
    document = {
        "parts": [asdict(part) for part in structure.parts.values()],
        "groups": groups,
        "layers": structure.layers,
        "exclusions": structure.exclusions,
        "parameters": structure.parameters,
        "uncalled": structure.uncalled,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def from_json(content: bytes) -> Structure:
    """Return the structure that `to_json` wrote, equal to the original.

    Raises:
        ValueError: the content is of another form.
    """
    try:
        found = json.loads(content)
        parts = [_part(fields) for fields in found["parts"]]
        groups = [
            ChannelGroup(
                name,
                units,
                tuple(
                    Member(part, side, tuple(tuple(unit) for unit in rows)) for part, side, rows in members
                ),
            )
            for name, units, members in found["groups"]
        ]
        return Structure(
            {part.name: part for part in parts},
            {group.name: group for group in groups},
            tuple(found["layers"]),
            tuple((name, what, reason) for name, what, reason in found["exclusions"]),
            found["parameters"],
            tuple(found["uncalled"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the document of a structure: {error}") from error


def _part(fields: Mapping[str, Any]) -> Part:
    tensors = {key: (tuple(shape), dtype, axis) for key, (shape, dtype, axis) in fields["tensors"].items()}
    return Part(**{**fields, "tensors": tensors})
