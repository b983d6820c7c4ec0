"""When a party asks for its next leaf: at half life, then again and again, and what it means when none comes.

A refusal ends the party at once, by name. An intake that is away does not, as long as the leaf lasts.
"""

from __future__ import annotations

import enum
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from splittraining.api.errors import IdentityRefused
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)
LAST_MOMENT = timedelta(seconds=10)
"""So long before its leaf ends a party gives up: it says itself why it ends, before its peers close their streams."""
SMALLEST_SHARE = 20
"""Of a short life, pauses and the last moment take one part in so many at most."""

_LOG = logging.getLogger(__name__)


class Step(enum.Enum):
    """What to do about a leaf now."""

    WAIT = "Wait"
    ASK = "Ask"
    GIVE_UP = "GiveUp"


@dataclass(frozen=True, slots=True)
class LeafLife:
    """One leaf's time, and how often another one was asked for in vain."""

    obtained_at: datetime
    ends_at: datetime
    failures: int = 0
    failed_at: datetime | None = None

    def fail(self, now: datetime) -> LeafLife:
        """Returns the same life after one more try that got no answer."""
        return replace(self, failures=self.failures + 1, failed_at=now)

    @property
    def gives_up_at(self) -> datetime:
        """From when on no try could help any more."""
        return self.ends_at - min(LAST_MOMENT, self._share)

    @property
    def next_try_at(self) -> datetime:
        """When to ask: at half life; after a failure in pauses that double, up to a longest one."""
        if self.failed_at is None:
            return self.obtained_at + (self.ends_at - self.obtained_at) / 2
        doubled = FIRST_PAUSE * (1 << min(self.failures - 1, 16))
        return self.failed_at + min(doubled, LONGEST_PAUSE, self._share)

    @property
    def _share(self) -> timedelta:
        return (self.ends_at - self.obtained_at) / SMALLEST_SHARE


def decide_renewal(life: LeafLife, *, now: datetime) -> tuple[Step, timedelta]:
    """Decides what to do about a leaf, and after what time to decide anew."""
    if now >= life.gives_up_at:
        return Step.GIVE_UP, timedelta(0)
    if now >= life.next_try_at:
        return Step.ASK, timedelta(0)
    # A clock may be set, and a machine may sleep: nobody waits through half a day without looking.
    return Step.WAIT, min(min(life.next_try_at, life.gives_up_at) - now, LONGEST_PAUSE)


class _CutOff(TimeoutError):
    """A try that was still going on when no answer could help any more."""


class Renewer:
    """Renews a party's credentials in a thread of its own, for as long as the party runs.

    Args:
        credentials: Renewed here, and ended where that fails.
        ask: Gets the next credentials from the intake, with the ones it is given. One try.
        on_renewed: Told until when the new leaf is valid.
        now: The moment, with time zone.
    """

    def __init__(
        self,
        credentials: LiveCredentials,
        *,
        ask: Callable[[Credentials], Credentials],
        on_renewed: Callable[[datetime], None],
        now: Callable[[], datetime],
    ) -> None:
        self._credentials = credentials
        self._ask = ask
        self._on_renewed = on_renewed
        self._now = now
        self._closed = threading.Event()
        self._last_words = "it was not asked in time"
        self._life = self._begin_life()

    def start(self) -> None:
        """Begins, in the thread."""
        threading.Thread(target=self._run, name="splittraining-renewal", daemon=True).start()

    def close(self) -> None:
        """Ends the renewals; the thread is not waited for, since it may be waiting for the network."""
        self._closed.set()

    def advance(self) -> timedelta | None:
        """Does what is due now and returns after what time to look again; None when nothing is left to do."""
        step, pause = decide_renewal(self._life, now=self._now())
        if step is Step.WAIT:
            return pause
        if step is Step.GIVE_UP:
            self._give_up()
            return None
        answer = self._try()
        if self._closed.is_set():
            return None
        if isinstance(answer, IdentityRefused):
            self._refuse(answer)
            return None
        if isinstance(answer, Exception):
            self._note_failure(answer)
        elif answer.not_after <= self._life.ends_at:  # taking it would mean to ask again at once, and for ever
            self._note_failure(ValueError("it gave a certificate that ends no later than the current one"))
        else:
            self._take_over(answer)
        return timedelta(0)

    def _run(self) -> None:
        while (pause := self.advance()) is not None and not self._closed.wait(pause.total_seconds()):
            pass

    def _begin_life(self) -> LeafLife:
        return LeafLife(obtained_at=self._now(), ends_at=self._credentials.current.not_after)

    def _take_over(self, renewed: Credentials) -> None:
        self._credentials.renew(renewed)
        self._life = self._begin_life()
        self._on_renewed(renewed.not_after)
        _LOG.info("the certificate was renewed and is valid until %s", renewed.not_after.isoformat())

    def _try(self) -> Credentials | Exception:
        """Asks in another thread: resolving a name may block for longer than the leaf lasts."""
        answers: queue.SimpleQueue[Credentials | Exception] = queue.SimpleQueue()
        current = self._credentials.current

        def ask() -> None:
            try:
                answers.put(self._ask(current))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is one try that failed
                answers.put(error)

        threading.Thread(target=ask, name="splittraining-certificate", daemon=True).start()
        left_s = (self._life.gives_up_at - self._now()).total_seconds()
        try:
            return answers.get(timeout=max(0.0, left_s))
        except queue.Empty:
            return _CutOff("it did not answer in time")

    def _note_failure(self, error: Exception) -> None:
        # A last try that the leaf's end cuts off says less than what came of the ones before.
        if not (isinstance(error, _CutOff) and self._life.failures):
            self._last_words = str(error) or type(error).__name__
        # Once per outage: an intake that is away for hours is one line, not a thousand.
        level = logging.DEBUG if self._life.failures else logging.WARNING
        _LOG.log(level, "the certificate is not renewed yet, training goes on: %s", self._last_words)
        self._life = self._life.fail(self._now())

    def _refuse(self, refused: IdentityRefused) -> None:
        party = self._credentials.current.identity.party
        error = IdentityRefused(
            f"the certificate of {party} is not renewed: {refused.given}",
            allowed=refused.allowed,
            remedy=refused.remedy or "look in the intake's log why; the party gets a fresh one when it starts again",
        )
        self._credentials.end(error)

    def _give_up(self) -> None:
        current = self._credentials.current
        error = IdentityRefused(
            f"the certificate of {current.identity.party} ends at {current.not_after.isoformat()} and the intake gave "
            f"no other one: {self._last_words}",
            remedy="look whether the intake runs and whether this party reaches it; then start the party again",
        )
        self._credentials.end(error)
