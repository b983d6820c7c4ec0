"""Who passes the client segment to whom: everybody has what it needs, and with direct links only neighbors pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.ring import find_neighbors, list_pairs
from splittraining.api.spec.schedule import HandOff as HandOffMode
from splittraining.api.spec.schedule import ScheduleMode, ScheduleSpec, SequentialSpec, TurnSpec
from splittraining.party.training.client_line import ClientLine
from splittraining.party.wire.link import Link
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import HandOff, HandOffDone, TakeOver

NAMES = ("north", "south", "west", "east", "centre")


@dataclass
class Clients:
    """Clients that follow orders at once; each pass moves a version number from the sender to the receiver."""

    names: Sequence[str]
    weights: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    passes: list[tuple[str, str]] = field(default_factory=list)
    ordered: HandOff | None = None

    def __post_init__(self) -> None:
        self.weights = dict.fromkeys(self.names, 0)
        self.states = dict.fromkeys(self.names, 0)
        self.answers: dict[str, deque[Message]] = {name: deque() for name in self.names}

    def build_line(self) -> ClientLine:
        links = {name: cast("Link", FakeLink(name, self)) for name in self.names}
        return ClientLine(self.names, links, hands_off=True, directly=True)

    def take(self, name: str, message: Message) -> None:
        if isinstance(message, HandOff):
            assert self.ordered is None
            self.ordered = message
            return
        assert isinstance(message, TakeOver)
        assert self.ordered is not None
        assert (self.ordered.recipient, self.ordered.sequence) == (name, message.sequence)
        self.passes.append((message.sender, name))
        self.weights[name] = self.weights[message.sender]
        if not self.ordered.weights_only:
            self.states[name] = self.states[message.sender]
        self.ordered = None
        self.answers[name].append(HandOffDone(sequence=message.sequence))

    def train(self, name: str, version: int) -> None:
        assert self.states[name] == self.weights[name] == version - 1
        self.states[name] = self.weights[name] = version


@dataclass
class FakeLink:
    name: str
    clients: Clients

    def send_control(self, message: Message) -> None:
        self.clients.take(self.name, message)

    def recv_control(self) -> Message:
        return self.clients.answers[self.name].popleft()


@given(
    names=st.integers(1, 5).map(lambda count: NAMES[:count]),
    evaluating=st.sets(st.sampled_from(NAMES)),
    rounds=st.integers(1, 3),
)
def test_with_direct_links_only_neighbors_pass_and_nobody_misses_anything(
    names: Sequence[str], evaluating: set[str], rounds: int
) -> None:
    clients = Clients(names)
    line, version = clients.build_line(), 0
    for _ in range(rounds):
        for name in names:
            line.pass_state_to(name, step=version)
            version += 1
            clients.train(name, version)
        for name in line.ring:
            if name in evaluating:
                line.pass_weights_to(name, step=version)
                assert clients.weights[name] == version
    for name in line.ring:
        line.pass_weights_to(name, step=version)
    assert set(clients.weights.values()) == {version}
    assert set(clients.passes) <= set(list_pairs(names))


def test_what_is_meant_for_one_further_on_passes_through_those_between() -> None:
    clients = Clients(NAMES)
    line = clients.build_line()
    line.pass_state_to("west", step=0)
    assert clients.passes == [("north", "south"), ("south", "west")]
    line.pass_weights_to("north", step=0)
    assert clients.passes[2:] == [("west", "east"), ("east", "centre"), ("centre", "north")]
    line.pass_weights_to("centre", step=0)
    assert len(clients.passes) == 5


def a_schedule(handoff: HandOffMode) -> ScheduleSpec:
    return ScheduleSpec(mode=ScheduleMode.SEQUENTIAL, sequential=SequentialSpec(turn=TurnSpec(), handoff=handoff))


def test_the_ring_has_no_pair_of_one_client_both_directions_of_two_and_three_of_three() -> None:
    assert list_pairs(["a"]) == ()
    assert list_pairs(["a", "b"]) == (("a", "b"), ("b", "a"))
    assert list_pairs(["a", "b", "c"]) == (("a", "b"), ("b", "c"), ("c", "a"))


def test_a_client_has_neighbors_only_where_hand_offs_go_directly() -> None:
    directly = a_schedule(HandOffMode.PEER_TO_PEER)
    found = find_neighbors(directly, ["a", "b", "c"], "a")
    assert found is not None
    assert (found.predecessor, found.successor) == ("c", "b")
    assert find_neighbors(directly, ["a"], "a") is None
    assert find_neighbors(directly, ["a", "b"], "server") is None
    for other in (HandOffMode.VIA_SERVER, HandOffMode.NONE):
        assert find_neighbors(a_schedule(other), ["a", "b"], "a") is None
    assert find_neighbors(ScheduleSpec(mode=ScheduleMode.JOINT), ["a", "b"], "a") is None


def test_links_are_in_listed_order_whoever_connected_first() -> None:
    links = dict.fromkeys(("west", "north", "south"))
    line = ClientLine(["north", "south", "west"], links, hands_off=False)  # type: ignore[arg-type]
    assert list(line.links) == ["north", "south", "west"]
