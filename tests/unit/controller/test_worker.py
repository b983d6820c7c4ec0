"""One look at one training: what comes of it, and when it is looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from splittraining.cluster.errors import TooManyRequests
from splittraining.controller.execute import RETRY_REFUSED_S, Executor, Outdated, WriteRefused
from splittraining.controller.gather import Gatherer
from splittraining.controller.metrics import Metrics
from splittraining.controller.work_queue import FIRST_BACKOFF_S, Key, WorkQueue
from splittraining.controller.worker import CONFLICT_PAUSE_S, RESYNC_S, Reconciler, Result, work
from splittraining.plan.decision import Decision
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.observed import Observed
from support.api_objects import TRAINING_UID, make_participation, make_training
from support.clocks import ManualClock

KEY = Key("trial", "chest-xray")


@dataclass
class Bench:
    """A reconciler over a cluster of one training, whose decision the test gives."""

    resource: dict[str, Any] | None = field(default_factory=make_training)
    wanted: tuple[dict[str, Any], ...] = ()
    requeue_after_s: float | None = None
    failure: Exception | None = None
    clock: ManualClock = field(default_factory=ManualClock)
    seen: list[Observed] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    second_look: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(monotonic_s=self.clock.monotonic_s)
        self.metrics = Metrics()
        self.reconciler = Reconciler(
            find_training=lambda _: self.resource,
            gatherer=Gatherer(self, self, get_reports=lambda _: {}, get_bundle_pem=lambda: "PEM", clock=self.clock.now),
            decide=self.decide,
            executor=Executor(self, watched_kinds=("SplitParticipation",), monotonic_s=self.clock.monotonic_s),
            queue=self.queue,
            settings=OperatorSettings(namespace="operators"),
            clock=self.clock.now,
            metrics=self.metrics,
            forget_reports=self.forgotten.append,
        )

    def look(self) -> Result:
        return asyncio.run(self.reconciler.reconcile(KEY))

    def decide(self, observed: Observed, *, now: datetime, settings: OperatorSettings) -> Decision:
        assert (now, settings.namespace) == (self.clock.now(), "operators")
        self.seen.append(observed)
        if len(self.seen) == 2:
            self.second_look.set()
        status = observed.training.status
        assert status is not None
        return Decision(
            status=status.model_copy(update={"attempt": status.attempt + 1}),
            apply=self.wanted,
            requeue_after_s=self.requeue_after_s,
        )

    # The cluster: nothing is known, nothing is there, and whatever is written fails as the test says.

    def find(self, *place: str) -> None:
        assert place

    def list_children(self, kind: str, training_uid: str) -> Sequence[dict[str, Any]]:
        assert (bool(kind), training_uid) == (True, TRAINING_UID)
        return ()

    async def get_config_map(self, *place: str) -> dict[str, Any]:
        assert place == ("trial", "xray-code")
        return {"data": {"model.py": ""}}

    async def list_events_of(self, obj: dict[str, Any]) -> Sequence[dict[str, Any]]:
        raise AssertionError(obj)

    async def apply(self, manifest: dict[str, Any], **_: object) -> dict[str, Any]:
        if isinstance(self.failure, WriteRefused):
            raise self.failure
        return manifest

    async def delete(self, *_: object) -> None:
        raise AssertionError

    async def write_status(self, training: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        assert training["metadata"]["name"] == "chest-xray"
        assert status
        if self.failure is not None and not isinstance(self.failure, WriteRefused):
            raise self.failure

    async def record(self, *_: object) -> None:
        raise AssertionError


def make_bench(**fields: Any) -> Bench:
    return Bench(resource=make_training(observedGeneration=1), **fields)


def test_a_look_that_is_done_comes_again_when_the_decision_says() -> None:
    bench = make_bench(requeue_after_s=5.0)
    assert bench.look() is Result.DONE
    bench.clock.advance(4.9)
    assert bench.queue.take() is None
    bench.clock.advance(0.2)
    assert bench.queue.take() == KEY


def test_a_training_that_asks_for_nothing_is_looked_at_now_and_then() -> None:
    bench = make_bench()
    assert bench.look() is Result.DONE
    bench.clock.advance(RESYNC_S - 1)
    assert bench.queue.take() is None
    bench.clock.advance(1)
    assert bench.queue.take() == KEY


def test_a_training_that_changed_meanwhile_is_looked_at_again_soon_and_not_without_pause() -> None:
    bench = make_bench(failure=Outdated())
    assert bench.look() is Result.CONFLICT
    assert bench.queue.take() is None
    bench.clock.advance(CONFLICT_PAUSE_S)
    assert bench.queue.take() == KEY


def test_the_next_decision_knows_what_was_refused() -> None:
    bench = make_bench(
        wanted=(make_participation("st-mary"),), failure=WriteRefused("NotInvited", "not let in"), requeue_after_s=60.0
    )
    assert bench.look() is Result.REFUSED
    assert bench.queue.take() == KEY
    bench.queue.done(KEY)
    assert bench.look() is Result.REFUSED
    assert [[refusal.reason for refusal in observed.refusals] for observed in bench.seen] == [[], ["NotInvited"]]
    assert bench.queue.take() is None
    bench.clock.advance(RETRY_REFUSED_S)
    assert bench.queue.take() == KEY
    assert 'splittraining_refusals_total{reason="NotInvited"} 1.0' in bench.metrics.render().decode()


def test_a_training_that_is_gone_leaves_nothing_behind() -> None:
    bench = make_bench(requeue_after_s=5.0)
    bench.look()
    bench.resource = None
    assert bench.look() is Result.DONE
    assert bench.forgotten == [TRAINING_UID]
    assert "chest-xray" not in bench.metrics.render().decode()
    bench.clock.advance(60)
    assert bench.queue.take() is None


def test_a_namesake_begins_without_the_memory_of_the_one_before() -> None:
    bench = make_bench(wanted=(make_participation("st-mary"),), failure=WriteRefused("NameTaken", "taken"))
    bench.look()
    bench.resource = make_training(observedGeneration=1)
    bench.resource["metadata"]["uid"] = "another"
    bench.list_children = lambda *_: ()  # type: ignore[method-assign]
    bench.look()
    assert bench.seen[-1].refusals == ()
    assert bench.forgotten == [TRAINING_UID]


def test_a_training_that_cannot_be_read_is_an_error_and_no_crash() -> None:
    bench = make_bench()
    assert bench.resource is not None
    bench.resource["spec"]["topology"] = "Spiral"
    assert bench.look() is Result.ERROR


BUSY = TooManyRequests("PATCH /x", "429 busy", retry_after_s=9)


@pytest.mark.parametrize(
    ("failure", "pause_s"),
    [(RuntimeError("broken"), FIRST_BACKOFF_S), (TimeoutError(), FIRST_BACKOFF_S), (BUSY, 9)],
    ids=["a fault of ours", "no answer", "an API server that asks for patience"],
)
def test_one_trainings_trouble_backs_off_and_the_worker_goes_on(failure: Exception, pause_s: float) -> None:
    bench = make_bench(failure=failure)

    async def work_on_two() -> None:
        worker = asyncio.create_task(
            work(bench.queue, bench.reconciler, metrics=bench.metrics, monotonic_s=bench.clock.monotonic_s)
        )
        bench.queue.add(KEY)
        bench.queue.add(Key("trial", "mri"))
        await bench.second_look.wait()
        assert not worker.done()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    asyncio.run(work_on_two())
    bench.clock.advance(pause_s - 0.01)
    assert bench.queue.take() is None
    bench.clock.advance(0.02)
    assert bench.queue.take() == KEY
    assert 'splittraining_reconciles_total{result="Error"}' in bench.metrics.render().decode()
