"""Evaluators on the workers of a Dask cluster (optional extra ``leanfront[dask]``)."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch

from leanfront.core.compressors import Configuration
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.evaluator_spec import EvaluatorLostError, EvaluatorSpec
from leanfront.core.search.racing import Race
from leanfront.errors import EvaluationError, LeanfrontError, UsageError

if TYPE_CHECKING:
    from distributed import Client

TIMEOUT = 30.0
"""Seconds to wait for the scheduler, at the start and when its connection is lost."""
LOOK = 2.0
"""Seconds between two counts of the workers."""
KEPT = 2
"""Evaluators that a worker process keeps, such as those of two searches; the least recently used goes first."""


class ClusterEvaluators:
    """Runs one evaluation at a time on every worker process of a Dask cluster, with all of its threads.

    A process builds its evaluator at its first evaluation for the search. Calibration passes run once per machine, or
    once in all if the machines share the cache folder (``LEANFRONT_CACHE``). Workers may come and go: Dask repeats
    evaluations of a dead worker on others, as often as its setting ``distributed.scheduler.allowed-failures`` allows
    (3 times by default).

    Args:
        spec: specification from which a process builds its evaluator.
        address: address of the scheduler, ``tcp://HOST:PORT``.
        timeout: seconds to wait for the scheduler.

    Raises:
        UsageError: Dask is not installed, or the address is invalid.
        EvaluationError: no scheduler answers at the address.
    """

    def __init__(self, spec: EvaluatorSpec, address: str, *, timeout: float = TIMEOUT) -> None:
        self._spec = spec
        self._key = hashlib.sha256(pickle.dumps(spec)).hexdigest()
        self._address = address
        self._timeout = timeout
        self._running: set[Future[Evaluation]] = set()
        self._client = self._connect()
        self._workers = 0
        self._looked = float("-inf")
        self._look()
        if not self._workers:
            warnings.warn(
                f"the scheduler {address} has no workers yet; evaluations wait for them: start some with "
                f"`dask worker {address}`",
                RuntimeWarning,
                stacklevel=2,
            )

    def _connect(self) -> Client:
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError(
                f"a cluster needs Dask, which cannot be imported ({error}); pip install 'leanfront[dask]'"
            ) from None
        try:
            return Client(self._address, timeout=self._timeout, set_as_default=False)
        except OSError as error:
            raise EvaluationError(
                f"no scheduler answers at {self._address} within {self._timeout:g} s ({error}); start one with "
                "`dask scheduler` or check the address; a search that was running can be resumed"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"'{self._address}' is no address of a scheduler ({error}); write tcp://HOST:PORT"
            ) from None

    @property
    def capacity(self) -> int:
        """Number of worker processes, at least 1: submitted work makes an adaptive cluster without workers grow."""
        self._look()
        return max(1, self._workers)

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK:
            return
        with suppress(Exception):  # not connected now: a running evaluation will report it
            self._workers = len(self._client.nthreads(callback_timeout=LOOK))
        self._looked = time.monotonic()

    def submit(
        self, configuration: Configuration, split: str, race: Race | None = None
    ) -> Future[Evaluation]:
        """Start an evaluation; its future raises `EvaluatorLostError` if its workers or the scheduler are lost.

        Raises:
            EvaluationError: the scheduler was lost and did not come back.
        """
        if self._client.status == "closed":
            self._client = self._connect()
        client, loop = self._client, self._client.loop
        assert loop is not None
        evaluation = asyncio.run_coroutine_threadsafe(
            self._evaluated(client, configuration, split, race),
            loop.asyncio_loop,  # type: ignore[attr-defined]
        )
        self._running.add(evaluation)
        evaluation.add_done_callback(self._running.discard)
        return evaluation

    async def _evaluated(
        self, client: Client, configuration: Configuration, split: str, race: Race | None
    ) -> Evaluation:
        # The spec may hold the whole target: send it only to processes that do not have it.
        found = await self._ran(client, self._key, None, configuration, split, race)
        if found is None:
            found = await self._ran(client, self._key, self._spec, configuration, split, race)
        assert found is not None
        return found

    async def _ran(self, client: Client, *task: Any) -> Evaluation | None:
        from distributed import CancelledError, KilledWorker

        future = client.submit(_opener(), pickle.dumps((_evaluate, task)), pure=False)
        try:
            found: Evaluation | None = await future
        except CancelledError as error:
            raise EvaluatorLostError(f"the cluster dropped the evaluation ({error})") from error
        except KilledWorker as error:
            times = error.allowed_failures + 1
            raise EvaluatorLostError("the worker process that evaluated it died", tries=times) from error
        except LeanfrontError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            if future.status != "error":
                raise EvaluatorLostError(f"the connection to the cluster broke ({what})") from error
            raise EvaluationError(
                f"a worker of the cluster {self._address} cannot evaluate ({what}); every worker needs the same "
                "release of leanfront, and the target's files under the same paths"
            ) from error
        return found

    def close(self) -> None:
        """Disconnect from the cluster and drop this search's evaluations."""
        for evaluation in list(self._running):
            evaluation.cancel()
        with suppress(OSError):  # the scheduler may be gone
            self._client.close(timeout=LOOK)


def _opener() -> Callable[[bytes], Evaluation | None]:
    """Return a function without a name, so that it is pickled by value: the scheduler need not import leanfront."""

    def run(packed: bytes) -> Any:
        import pickle

        function, arguments = pickle.loads(packed)
        return function(*arguments)

    return run


_lock = threading.Lock()
"""An evaluator is not safe for several threads, and each uses all cores of its process."""
_evaluators: OrderedDict[str, Evaluator] = OrderedDict()


def _evaluate(
    key: str, spec: EvaluatorSpec | None, configuration: Configuration, split: str, race: Race | None
) -> Evaluation | None:
    """Evaluate on a worker; return None if it has no evaluator with that key and no spec for it."""
    from distributed import get_worker

    with _lock:
        torch.set_num_threads(max(1, get_worker().state.nthreads))
        if key not in _evaluators:
            if spec is None:
                return None
            _evaluators[key] = spec.build(_own_device(spec.devices))
            while len(_evaluators) > KEPT:
                _evaluators.popitem(last=False)
        _evaluators.move_to_end(key)
        return _evaluators[key].evaluate(configuration, split, race)


def _own_device(devices: tuple[str, ...]) -> str:
    """Return the device of this process; the workers of a machine take its devices in turn."""
    from distributed import get_client, get_worker

    count = torch.cuda.device_count()
    if devices == ("auto",):
        devices = ("cuda",) if count else ("cpu",)
    if devices == ("cuda",) and count:
        devices = tuple(f"cuda:{i}" for i in range(count))
    if len(devices) == 1:
        return devices[0]
    return devices[place(get_worker().address, list(get_client().nthreads())) % len(devices)]


def place(address: str, addresses: list[str]) -> int:
    """Return the position of an address among the workers of its machine, from 0."""
    host = urlsplit(address).hostname
    return sorted(each for each in addresses if urlsplit(each).hostname == host).index(address)
