"""When a party asks for its next leaf, and what it makes of the answers; time is the test's."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from splittraining.api.errors import IdentityRefused, PeerFailed
from splittraining.party.intake_door import DoorUnreachable
from splittraining.party.renewal import LeafLife, Renewer, Step, decide_renewal
from splittraining.pki.credentials import Credentials
from splittraining.pki.live import LiveCredentials
from support.pki_support import a_site

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
DAY = LeafLife(BEGIN, BEGIN + timedelta(hours=24))
SITE = a_site(now=BEGIN)


@pytest.mark.parametrize(
    ("life", "after", "step", "pause"),
    [
        pytest.param(DAY, timedelta(0), Step.WAIT, 60, id="a fresh leaf is looked at now and then"),
        pytest.param(DAY, timedelta(hours=12, seconds=-5), Step.WAIT, 5, id="just before half life"),
        pytest.param(DAY, timedelta(hours=12), Step.ASK, 0, id="at half life"),
        pytest.param(DAY, timedelta(hours=20), Step.ASK, 0, id="a machine that slept asks late"),
        pytest.param(DAY, timedelta(hours=24, seconds=-10), Step.GIVE_UP, 0, id="in the last moment"),
        pytest.param(DAY, timedelta(hours=30), Step.GIVE_UP, 0, id="long after"),
    ],
)
def test_a_leaf_is_renewed_at_half_life(life: LeafLife, after: timedelta, step: Step, pause: float) -> None:
    assert decide_renewal(life, now=BEGIN + after) == (step, timedelta(seconds=pause))


def test_a_party_that_gets_no_answer_asks_in_pauses_that_grow_to_a_minute() -> None:
    life, now, pauses = DAY, BEGIN + timedelta(hours=12), []
    for _ in range(9):
        life = life.fail(now)
        step, pause = decide_renewal(life, now=now)
        assert step is Step.WAIT
        pauses.append(pause.total_seconds())
        now += pause
        assert decide_renewal(life, now=now) == (Step.ASK, timedelta(0))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_pause_never_reaches_beyond_the_last_moment() -> None:
    gives_up_at = DAY.gives_up_at
    life = LeafLife(DAY.obtained_at, DAY.ends_at, failures=20, failed_at=gives_up_at - timedelta(seconds=3))
    assert decide_renewal(life, now=gives_up_at - timedelta(seconds=3)) == (Step.WAIT, timedelta(seconds=3))
    assert decide_renewal(life, now=gives_up_at)[0] is Step.GIVE_UP


def test_a_short_life_has_short_pauses_and_a_short_last_moment() -> None:
    life = LeafLife(BEGIN, BEGIN + timedelta(seconds=10)).fail(BEGIN + timedelta(seconds=5))
    assert life.next_try_at == BEGIN + timedelta(seconds=5.5)
    assert life.gives_up_at == BEGIN + timedelta(seconds=9.5)


class Room:
    """A renewer whose clock and whose intake are the test's."""

    def __init__(self, *answers: Credentials | Exception) -> None:
        self.now = BEGIN
        self.live = LiveCredentials(SITE.admit("north"))
        self.first = self.live.current
        self.asked_with: list[Credentials] = []
        self.told: list[datetime] = []
        self._answers = list(answers)
        self._hangs = False
        self.renewer = Renewer(self.live, ask=self._ask, on_renewed=self.told.append, now=lambda: self.now)

    def advance_to_the_end(self) -> None:
        """Moves the clock on as the renewer asks, until it has nothing left to do."""
        while (pause := self.renewer.advance()) is not None:
            self.now += pause

    def hang_in_the_last_try(self) -> None:
        """Lets the try that is next get no answer, with only a moment left for it."""
        self._hangs = True
        self.now = self.first.not_after - timedelta(seconds=10, milliseconds=1)

    def _ask(self, current: Credentials) -> Credentials:
        self.asked_with.append(current)
        if self._hangs:
            self.now = self.first.not_after
            threading.Event().wait()
        answer = self._answers.pop(0) if self._answers else DoorUnreachable("ConnectionRefusedError")
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_refusal_ends_the_credentials_by_name_though_the_leaf_is_still_valid() -> None:
    room = Room(IdentityRefused("the intake refused this party: it is not admitted"))
    room.advance_to_the_end()
    assert isinstance(room.live.error, IdentityRefused)
    assert str(room.live.error).startswith(
        "the certificate of north is not renewed: the intake refused this party: it is not admitted."
    )
    assert (room.now, len(room.asked_with)) == (BEGIN + timedelta(hours=12), 1)


def test_an_intake_that_is_away_ends_the_credentials_only_when_the_leaf_ends() -> None:
    room = Room(PeerFailed("the intake failed"), OSError("no route"))
    room.advance_to_the_end()
    assert isinstance(room.live.error, IdentityRefused)
    assert str(room.live.error).startswith(
        "the certificate of north ends at 2030-01-02T00:00:00+00:00 and the intake gave no other one: "
        "ConnectionRefusedError."
    )
    assert room.now == room.first.not_after - timedelta(seconds=10)
    assert len(room.asked_with) > 700  # about once a minute for twelve hours
    assert room.live.current is room.first


def test_what_the_intake_said_is_told_though_the_last_try_was_cut_off() -> None:
    room = Room(DoorUnreachable("the authority is away"))
    room.now += timedelta(hours=12)
    room.renewer.advance()
    room.hang_in_the_last_try()
    room.advance_to_the_end()
    assert len(room.asked_with) == 2
    assert "and the intake gave no other one: the authority is away." in str(room.live.error)


def test_an_intake_that_says_nothing_at_all_did_not_answer_in_time() -> None:
    room = Room()
    room.hang_in_the_last_try()
    room.advance_to_the_end()
    assert "and the intake gave no other one: it did not answer in time." in str(room.live.error)


def test_an_intake_that_comes_back_is_in_time_as_long_as_the_leaf_lasts() -> None:
    second = SITE.admit("north", now=BEGIN + timedelta(hours=12), duration=timedelta(days=2))
    room = Room(*(DoorUnreachable("gone") for _ in range(9)), second, IdentityRefused("enough"))
    room.advance_to_the_end()
    assert room.live.current is second
    assert room.asked_with == [room.first] * 10 + [second]
    assert room.told == [second.not_after]


def test_the_next_renewal_is_due_at_half_of_the_new_leafs_life() -> None:
    second = SITE.admit("north", now=BEGIN + timedelta(hours=12))
    room = Room(second, IdentityRefused("enough"))
    room.advance_to_the_end()
    assert room.now == BEGIN + timedelta(hours=24)


def test_a_leaf_that_ends_no_later_is_no_renewal() -> None:
    same_end = SITE.admit("north", now=BEGIN + timedelta(hours=12), duration=timedelta(hours=12))
    room = Room(same_end, IdentityRefused("enough"))
    room.advance_to_the_end()
    assert (room.live.current, room.asked_with, room.told) == (room.first, [room.first] * 2, [])
    assert room.now == BEGIN + timedelta(hours=12, seconds=1)


def test_a_party_that_has_ended_renews_nothing_any_more() -> None:
    room = Room(SITE.admit("north"))
    room.now += timedelta(hours=12)
    room.renewer.close()
    assert room.renewer.advance() is None
    assert (room.live.current, room.live.error, room.told) == (room.first, None, [])


def test_an_outage_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    room = Room(DoorUnreachable("gone"))
    with caplog.at_level(logging.INFO, "splittraining.party.renewal"):
        room.advance_to_the_end()
    assert [record.getMessage() for record in caplog.records] == [
        "the certificate is not renewed yet, training goes on: gone"
    ]
