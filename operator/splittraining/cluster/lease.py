"""Which of several processes leads: a Lease that one of them holds and renews.

Never optimistic: a leader that could not renew within its deadline stops leading before any other can begin, and it
does not matter why (an API server that is away, a network that swallows, a process that was frozen). So the deadline is
looked at twice: where the Lease is renewed, and in a thread of its own, which ends the process also when the event loop
stands still.

Times are this process's own monotonic ones. What stands in the Lease is for people and for `kubectl`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from splittraining.cluster.client import ApiObject, Client
from splittraining.cluster.errors import AlreadyExists, ApiError, Conflict, NotFound
from splittraining.cluster.resources import LEASE


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a Lease lasts, in seconds: `duration_s` > `deadline_s` > `period_s`."""

    duration_s: float = 15.0
    """A Lease that was not renewed for so long may be taken."""
    deadline_s: float = 10.0
    """A leader that could not renew for so long stops."""
    period_s: float = 2.0
    """How often the holder renews, and others look."""

    def __post_init__(self) -> None:
        if not self.duration_s > self.deadline_s > self.period_s > 0:
            raise ValueError(
                f"a Lease of {self.duration_s} s with a deadline of {self.deadline_s} s and a period of"
                f" {self.period_s} s; allowed: duration > deadline > period > 0"
            )


class LeaseLost(Exception):
    """This process does not lead any more."""


class Lease:
    """One Lease, as one candidate sees it.

    Args:
        client: Calls the API server.
        namespace: Namespace of the Lease.
        name: Its name.
        identity: This candidate's: unique among all processes, also over restarts.
        times: How long it lasts.
        monotonic_s: Seconds that never go back, and that go on while the process is frozen.
        now: The moment, for what people read.
        sleep: Waits.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        identity: str,
        times: LeaseTimes,
        monotonic_s: Callable[[], float],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._monotonic_s = monotonic_s
        self._now = now
        self._sleep = sleep
        self._seen: tuple[object, ...] = ()
        self._seen_at_s = 0.0
        self._renewed_at_s: float | None = None

    @property
    def renewed_at_s(self) -> float | None:
        """When this process last knew that it leads; None while it does not."""
        return self._renewed_at_s

    def is_overdue(self) -> bool:
        """Returns whether this process leads and must not any more."""
        renewed_at_s = self._renewed_at_s
        return renewed_at_s is not None and self._monotonic_s() - renewed_at_s >= self._times.deadline_s

    async def acquire(self) -> None:
        """Waits until this process leads."""
        while not await self._try_within(self._times.deadline_s):
            await self._sleep(self._times.period_s)

    async def hold(self) -> None:
        """Renews the Lease until it is lost.

        Raises:
            LeaseLost: always, in the end.
        """
        assert self._renewed_at_s is not None, "acquire comes first"
        while True:
            await self._sleep(self._times.period_s)
            left_s = self._renewed_at_s + self._times.deadline_s - self._monotonic_s()
            if left_s <= 0 or (not await self._try_within(left_s) and self.is_overdue()):
                raise LeaseLost(f"{self._identity} could not renew for {self._times.deadline_s:g} s")

    async def release(self) -> None:
        """Gives the Lease back, so that another one need not wait; whoever does this must have stopped leading."""
        if self._renewed_at_s is None:
            return
        self._renewed_at_s = None
        path = LEASE.get_path(self._namespace, self._name)
        try:
            lease = await self._client.call("GET", path, timeout_s=self._times.period_s)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.call("PUT", path, body=lease, timeout_s=self._times.period_s)
        except ApiError:
            return  # it ends by itself

    async def _try_within(self, limit_s: float) -> bool:
        """Tries once; False also where nobody answers. Whoever held it is told by LeaseLost if somebody else has it."""
        began_at_s = self._monotonic_s()
        try:
            async with asyncio.timeout(max(0.05, limit_s)):
                leads = await self._try()
        except (ApiError, TimeoutError):
            return False
        if leads:
            self._renewed_at_s = began_at_s  # before the request: the server's clock began no earlier
        return leads

    async def _try(self) -> bool:
        path = LEASE.get_path(self._namespace, self._name)
        limit_s = self._times.deadline_s
        try:
            lease = await self._client.call("GET", path, timeout_s=limit_s)
        except NotFound:
            return await self._create(limit_s)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder != self._identity:
            if self._renewed_at_s is not None:
                raise LeaseLost(f"{holder or 'nobody'} holds the Lease {self._name} that {self._identity} held")
            if holder and not self._may_take(holder, spec):
                return False
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        lease["spec"] = self._build_spec(spec, transitions=transitions, is_new=holder != self._identity)
        try:
            await self._client.call("PUT", path, body=lease, timeout_s=limit_s)
        except Conflict:
            return False
        return True

    async def _create(self, limit_s: float) -> bool:
        lease: ApiObject = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._build_spec({}, transitions=0, is_new=True),
        }
        try:
            await self._client.call("POST", LEASE.get_path(self._namespace), body=lease, timeout_s=limit_s)
        except AlreadyExists:
            return False
        return True

    def _may_take(self, holder: str, spec: ApiObject) -> bool:
        """Whether another one's Lease has run out, by this process's clock since it last changed."""
        seen = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at_s = seen, self._monotonic_s()
            return False
        duration_s = float(spec.get("leaseDurationSeconds") or self._times.duration_s)
        return self._monotonic_s() - self._seen_at_s >= duration_s

    def _build_spec(self, old: ApiObject, *, transitions: int, is_new: bool) -> ApiObject:
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.duration_s)),
            "acquireTime": moment if is_new else old.get("acquireTime", moment),
            "renewTime": moment,
            "leaseTransitions": transitions,
        }


def watch_deadline(lease: Lease, *, end: Callable[[], None], period_s: float = 0.25) -> threading.Event:
    """Ends the process from a thread when it leads for longer than it may, whatever its event loop does.

    Args:
        lease: The Lease.
        end: Ends the process at once, without any clean-up that writes.
        period_s: How often to look.

    Returns:
        Set it to stop watching.
    """
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(period_s):
            if lease.is_overdue():
                end()
                return

    threading.Thread(target=watch, name="lease-deadline", daemon=True).start()
    return stopped
