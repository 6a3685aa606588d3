"""Results of verifying a candidate: its claims, each with the value found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A claim about a candidate, and the value found.

    Args:
        name: name of the measurement, or ``sha256``, ``artifact``, ``configuration``.
        claimed: stored value.
        found: value found in the artifact; None if it could not be found.
        split: data it was measured on; ``""`` if that does not apply.
        tolerance: allowed difference, in the unit.
        unit: unit of the values.
    """

    name: str
    claimed: float | str
    found: float | str | None
    split: str = ""
    tolerance: float = 0.0
    unit: str = ""

    @property
    def ok(self) -> bool:
        """Whether the claim holds."""
        if isinstance(self.claimed, str) or isinstance(self.found, str) or self.found is None:
            return self.claimed == self.found
        return abs(self.claimed - self.found) <= self.tolerance

    @property
    def text(self) -> str:
        """Return the claim as text: ``accuracy (test) is claimed to be 0.9, found 0.8``."""
        where = f" ({self.split})" if self.split else ""
        return f"{self.name}{where} is claimed to be {self.claimed}, found {self.found}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "name": self.name,
            "split": self.split or None,
            "claimed": self.claimed,
            "found": self.found,
            "tolerance": self.tolerance,
            "unit": self.unit,
            "ok": self.ok,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Claim:
        """Read the output of `to_json`."""
        own = {key: data[key] for key in ("name", "claimed", "found", "tolerance", "unit")}
        return cls(**own, split=data["split"] or "")


@dataclass(frozen=True)
class Verification:
    """Result of verifying a candidate.

    Args:
        candidate: id of the candidate.
        claims: claims, each with the value found.
        unchecked: measurements that an artifact cannot prove or refute, name -> reason.
        release: release of leanfront that verified it; set by the caller that stores it.
        created: ISO 8601 time in UTC, set by the store.
    """

    candidate: int
    claims: tuple[Claim, ...]
    unchecked: Mapping[str, str] = field(default_factory=dict)
    release: str = ""
    created: str = ""

    @property
    def ok(self) -> bool:
        """Whether every claim holds."""
        return all(claim.ok for claim in self.claims)

    @property
    def broken(self) -> tuple[Claim, ...]:
        """The claims that do not hold."""
        return tuple(claim for claim in self.claims if not claim.ok)

    @property
    def broken_text(self) -> str:
        """The broken claims as a sentence."""
        broken = "; ".join(claim.text for claim in self.broken)
        return f"claims about candidate {self.candidate} do not hold: {broken}"

    def to_json(self) -> dict[str, Any]:
        """Return the VERIFICATION object of the command line and the API."""
        return {
            "candidate": self.candidate,
            "ok": self.ok,
            "claims": [claim.to_json() for claim in self.claims],
            "unchecked": dict(self.unchecked),
            "release": self.release,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verification:
        """Read the output of `to_json`."""
        own = {key: data[key] for key in ("candidate", "unchecked", "release", "created")}
        return cls(**own, claims=tuple(Claim.from_json(each) for each in data["claims"]))
