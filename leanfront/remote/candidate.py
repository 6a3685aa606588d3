"""Candidates on a server, and what a worker there can do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanfront.actions.audit_request import DEFAULT_KINDS
from leanfront.actions.recovery import settings_of
from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.core import search as searching
from leanfront.core.audit import AuditOptions
from leanfront.core.compressors import Configuration, Recovery
from leanfront.core.compressors.exchange.formats import PACKED, format_of
from leanfront.core.objectives import Measurement
from leanfront.core.search import Verification
from leanfront.core.search.attempt import last_training, uncut
from leanfront.core.storage import AuditRecord
from leanfront.errors import ArtifactError, NotFoundError, TargetError
from leanfront.files import whole
from leanfront.options import plain, takes
from leanfront.remote.connection import Connection

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class RemoteCandidate(searching.Candidate):
    """A candidate on a server, whose worker makes its files and verifies it."""

    client: Connection | None = field(default=None, repr=False)

    def module(self, device: str = "cpu") -> nn.Module:
        """Raise `TargetError`: modules are not sent over the network; the message says what to do instead."""
        raise TargetError(
            "the target is with the server's workers: export the candidate, and open the file with leanfront.load"
        )

    def export(self, path: str | Path, *, timeout: float | None = None) -> Path:
        """Write the candidate to a file, which a worker of the server makes if needed.

        Args:
            path: path of the file; its suffix gives the format.
            timeout: seconds to wait for the worker; None waits for ever.

        Raises:
            TimeoutError: no worker made the file in time.
            UsageError: the suffix is unknown.
            ArtifactError: the content was damaged on the way.
            LeanfrontError: the file cannot be made, or not written here.
        """
        place = Path(path)
        content = self.artifact(format_of(place).name, timeout=timeout)
        with whole(place) as file:
            file.write(content)
        return place

    def artifact(self, format: str = PACKED, *, timeout: float | None = None) -> bytes:
        """Return the content of the candidate's file in a format; wait for a worker to make it if needed.

        Raises:
            TimeoutError: no worker made the file in time.
            UsageError: the format is unknown.
            ArtifactError: the content was damaged on the way.
            LeanfrontError: the file cannot be made.
        """
        client, path = self._server(), f"/candidates/{self.id}/artifact"
        try:
            return client.file(path, {"format": format})
        except (NotFoundError, ArtifactError):
            # The file does not exist yet, or is damaged on the server.
            client.work(path, {"format": format}, timeout)
        return client.file(path, {"format": format})

    def layers(self) -> dict[str, Any]:
        """See `leanfront.Candidate.layers`. Raises `NotFoundError` if the search's layers are not known yet."""
        found: dict[str, Any] = self._server().get(f"/candidates/{self.id}/layers").json()
        return found

    def verify(self, *, timeout: float | None = None) -> Verification:
        """Have a worker verify the candidate, and return the result.

        Raises:
            TimeoutError: no worker verified it in time.
            LeanfrontError: the candidate cannot be verified.
        """
        client = self._server()
        client.work(f"/candidates/{self.id}/verify", timeout=timeout)
        return self.verification()

    @takes(Recovery, RecoveryLimit, network=True, omit=("epochs",))
    def recover(self, epochs: int = 3, *, timeout: float | None = None, **options: Any) -> RemoteCandidate:
        """Have a worker train the candidate, and wait for the outcome; see `leanfront.Candidate.recover`.

        Args:
            epochs: passes over the training split.
            timeout: seconds to wait for the worker; None waits for ever.
            options: see `leanfront.core.compressors.Recovery`, and ``minutes``.

        Returns:
            The recovered candidate, or this one if nothing was gained.

        Raises:
            TimeoutError: no worker finished in time.
            UsageError: the candidate cannot be recovered, or a value is invalid.
            LeanfrontError: the training failed.
        """
        client, path = self._server(), f"/candidates/{self.id}"
        body = plain({"epochs": epochs, **options}, Recovery, RecoveryLimit)
        client.work(f"{path}/recover", timeout=timeout, json=body)
        found = [candidate_of(each, client) for each in client.get(f"{path}/recoveries").json()]
        asked = settings_of({name: value for name, value in body.items() if name != "minutes"})
        # The settings of a training that ran out of time include the number of its steps.
        own = [each for each in found if last_training(each) == asked]
        own = own or [each for each in found if uncut(last_training(each)) == asked]
        return own[-1] if own and own[-1].state == "complete" else self

    @takes(AuditOptions, network=True)
    def audit(
        self,
        *,
        kinds: Sequence[str] | str = DEFAULT_KINDS,
        wait: bool = True,
        timeout: float | None = None,
        **options: Any,
    ) -> list[AuditRecord]:
        """Have a worker audit the candidate against the dense model; raises as `RemoteSearch.audit`.

        Args:
            kinds: kinds of audit, as `leanfront audit` takes them.
            wait: whether to wait for the worker; if not, the audit is only queued, for `audits` to return later.
            timeout: seconds to wait; None waits for ever.
            options: see `leanfront.core.audit.AuditOptions`.

        Returns:
            One record per kind about this candidate; an empty list if `wait` is false.
        """
        client, path = self._server(), f"/candidates/{self.id}/audits"
        names = [kinds] if isinstance(kinds, str) else list(kinds)
        client.work(path, timeout=timeout, wait=wait, json={"kinds": names, **plain(options, AuditOptions)})
        return [AuditRecord(**client.get(f"{path}/{kind}").json()) for kind in (names if wait else ())]

    def audits(self) -> list[AuditRecord]:
        """Return the stored audits of the candidate."""
        client, path = self._server(), f"/candidates/{self.id}/audits"
        return [AuditRecord(**client.get(f"{path}/{row['kind']}").json()) for row in client.get(path).json()]

    def verification(self) -> Verification:
        """Return the candidate's latest verification. Raises `NotFoundError` if there is none."""
        return Verification.from_json(self._server().get(f"/candidates/{self.id}/verification").json())

    def _server(self) -> Connection:
        assert self.client is not None
        return self.client


def candidate_of(data: Mapping[str, Any], client: Connection) -> RemoteCandidate:
    """Build a candidate from a CANDIDATE object, which does not list the kept channels."""
    return RemoteCandidate(
        search=data["search"],
        number=data["trial"],
        configuration=Configuration.from_json(data["configuration"]),
        state=data["state"],
        reason=data["reason"],
        measurements=tuple(Measurement.from_json(each) for each in data["measurements"]),
        on_frontier=data["on_frontier"],
        parent=data["parent"],
        seconds=data["seconds"],
        id=data["id"],
        verified=data["verified"],
        client=client,
    )
