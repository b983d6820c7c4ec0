"""Takes a key, looks, decides, carries out; the same whatever it was that happened."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from splittraining.api.errors import SplitTrainingError
from splittraining.api.resource import parse_split_training
from splittraining.cluster.client import ApiObject
from splittraining.cluster.errors import ApiError
from splittraining.controller.execute import Executor, Memory, Outdated
from splittraining.controller.gather import Gatherer
from splittraining.controller.metrics import Metrics
from splittraining.controller.work_queue import Key, WorkQueue
from splittraining.plan.decision import Decision
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.observed import Observed

LOOK_TIMEOUT_S = 120.0
"""For one look with all its calls, each of which has a shorter one."""
RESYNC_S = 600.0
"""Every training is looked at this often whatever happens: clocks are set, and what is not watched changes."""
CONFLICT_PAUSE_S = 0.1
"""What changed meanwhile is mostly known by then, and where it is not, the API server is not asked without pause."""

_LOG = logging.getLogger(__name__)


class Result(enum.StrEnum):
    """What came of one look."""

    DONE = "Done"
    REFUSED = "Refused"
    CONFLICT = "Conflict"
    ERROR = "Error"


class Decide(Protocol):
    """The decision about one training; pure."""

    def __call__(self, observed: Observed, *, now: datetime, settings: OperatorSettings) -> Decision:
        """Decides."""
        ...


class Reconciler:
    """Looks at one training at a time.

    Args:
        find_training: Returns a training by namespace and name as the store knows it.
        gatherer: Puts together what is known.
        decide: Decides.
        executor: Carries out.
        queue: Where a training is put that must be looked at again.
        settings: What the operator knows of itself.
        clock: Returns the moment, with time zone.
        metrics: Shows how trainings are.
    """

    def __init__(  # noqa: PLR0913 - what a look is made of
        self,
        *,
        find_training: Callable[[Key], ApiObject | None],
        gatherer: Gatherer,
        decide: Decide,
        executor: Executor,
        queue: WorkQueue,
        settings: OperatorSettings,
        clock: Callable[[], datetime],
        metrics: Metrics,
        forget_reports: Callable[[str], None],
    ) -> None:
        self._find_training = find_training
        self._gatherer = gatherer
        self._decide = decide
        self._executor = executor
        self._queue = queue
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._forget_reports = forget_reports
        self._memories: dict[Key, tuple[str, Memory]] = {}

    async def reconcile(self, key: Key) -> Result:
        """Looks at a training once.

        Raises:
            Exception: whatever an API call raises; the caller comes back later.
        """
        resource = self._find_training(key)
        if resource is None:
            self._forget(key)  # its objects have owners: the cluster collects them
            return Result.DONE
        try:
            training = parse_split_training(resource)
        except SplitTrainingError as error:
            # The API server checked it against the CRD, so the CRD in this cluster is of another version.
            _LOG.error("cannot read a training: %s", error, extra={"training": key})
            return Result.ERROR
        memory = self._remember(key, training.metadata.uid)
        gathered = await self._gatherer.gather(resource, training, memory.refusals)
        decision = self._decide(gathered.observed, now=self._clock(), settings=self._settings)
        self._metrics.show_training(key, decision.status)
        try:
            carried = await self._executor.carry_out(decision, gathered.scene, memory)
        except Outdated:
            self._queue.add_after(key, CONFLICT_PAUSE_S)
            return Result.CONFLICT
        if carried.news:
            self._queue.add(key)
        for refusal in memory.refusals if carried.news else ():
            self._metrics.refusals.labels(reason=refusal.reason).inc()
            _LOG.warning(
                "%s", refusal.message, extra={"training": key, "party": refusal.party, "reason": refusal.reason}
            )
        self._come_again(
            key,
            decision.requeue_after_s,
            carried.postponed_s,
            gathered.look_again_s,
            carried.retry_s,
            RESYNC_S,
        )
        return Result.REFUSED if memory.refused else Result.DONE

    def _come_again(self, key: Key, *delays_s: float | None) -> None:
        self._queue.add_after(key, min(delay_s for delay_s in delays_s if delay_s is not None))

    def _remember(self, key: Key, uid: str) -> Memory:
        known = self._memories.get(key)
        if known is not None and known[0] == uid:
            return known[1]
        if known is not None:
            self._forget(key)  # a namesake
        memory = Memory()
        self._memories[key] = uid, memory
        return memory

    def _forget(self, key: Key) -> None:
        known = self._memories.pop(key, None)
        if known is not None:
            self._gatherer.forget(known[0])
            self._forget_reports(known[0])
        self._queue.forget(key)
        self._metrics.forget_training(key)


async def work(queue: WorkQueue, reconciler: Reconciler, *, metrics: Metrics, monotonic_s: Callable[[], float]) -> None:
    """Works on keys until it is cancelled; an error is one key's, and that key comes later again."""
    while True:
        key = await queue.get()
        started_s, trouble, asked_pause_s = monotonic_s(), "", 0.0
        result = Result.ERROR
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                result = await reconciler.reconcile(key)
        except Exception as error:  # noqa: BLE001 - one training's trouble must not stop the others
            trouble = type(error).__name__
            if isinstance(error, ApiError):
                trouble, asked_pause_s = error.asked, error.retry_after_s or 0.0
            _LOG.warning(
                "could not look at a training: %s: %s", type(error).__name__, error, extra={"training": key},
                exc_info=_LOG.isEnabledFor(logging.DEBUG),
            )  # fmt: skip
        finally:
            metrics.reconciles.labels(result=result.value).inc()
            metrics.reconcile_seconds.observe(monotonic_s() - started_s)
            if result is Result.ERROR:
                queue.failed(key, trouble=trouble, asked_pause_s=asked_pause_s)
            else:
                queue.done(key)
