"""Global-norm clipping over links: the bits of torch.nn.utils.clip_grad_norm_, whoever owns which parameter."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from splittraining.api.errors import ModelInvalid, NumericsInvalid, ProtocolViolation
from splittraining.party.training.clipping import GlobalNormClipping, combine_norms, compute_norms, find_dtype
from splittraining.party.training.engine import StepInput
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import MAX_NORMS, GradientNorm, GradientNorms, Keep

GIVEN = StepInput(step=7, rows=4)


class Script:
    """A link whose peer says what is written, and which remembers what it was told."""

    def __init__(self, *says: Message) -> None:
        self.peer = "north"
        self.says = list(says)
        self.told: list[Message] = []

    def send_control(self, message: Message) -> None:
        self.told.append(message)

    def recv_control(self) -> Message:
        return self.says.pop(0)


def make_parameters(sizes: Sequence[int], *, seed: int = 3) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    named = {f"p{index}": nn.Parameter(torch.zeros(size)) for index, size in enumerate(sizes)}
    for index, parameter in enumerate(named.values()):
        if sizes[index] % 5:  # some have no gradient
            parameter.grad = torch.randn(sizes[index], generator=generator)
    return named


def make_side(named: dict[str, nn.Parameter], owner: str, owners: dict[str, str]) -> GlobalNormClipping:
    own = {name: named[name] for name in owners if owners[name] == owner}
    return GlobalNormClipping(own, owners=owners, dtype=torch.float32, device=torch.device("cpu"), limit=0.5)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60), split=st.integers(1, 7))
def test_two_owners_clip_to_the_bits_of_the_unsplit_model(sizes: list[int], split: int) -> None:
    ours, plain = make_parameters(sizes), make_parameters(sizes)
    owners = {name: "client" if index % split else "server" for index, name in enumerate(ours)}
    nn.utils.clip_grad_norm_(list(plain.values()), 0.5, foreach=False)
    client, server = make_side(ours, "client", owners), make_side(ours, "server", owners)
    norms = compute_norms({name: ours[name] for name in owners if owners[name] == "client"})
    says = tuple(repr(float(norms[name])) if name in norms else "" for name in owners if owners[name] == "client")
    at_server = Script(GradientNorms(step=7, norms=says))
    server.clip_for({"client": [at_server]}, GIVEN)  # type: ignore[list-item]
    at_client = Script(*at_server.told)
    client.clip_with(at_client, GIVEN)  # type: ignore[arg-type]
    assert at_client.told == [GradientNorms(step=7, norms=says)]
    for name, parameter in plain.items():
        assert (parameter.grad is None) is (ours[name].grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, ours[name].grad)  # type: ignore[arg-type]


def test_the_norm_depends_on_the_order_which_is_the_whole_models() -> None:
    generator = torch.Generator().manual_seed(1)
    norms = {f"p{index}": norm for index, norm in enumerate(torch.rand(300, generator=generator).exp().unbind())}
    order = list(norms)
    whole = combine_norms(order, norms)
    assert torch.equal(whole, combine_norms(order, dict(reversed(norms.items()))))
    others = [combine_norms(order[start:] + order[:start], norms) for start in range(1, len(order))]
    assert any(not torch.equal(whole, other) for other in others)


def test_more_norms_than_one_message_holds_go_in_several() -> None:
    named = make_parameters([1] * (MAX_NORMS + 3))
    client = make_side(named, "client", dict.fromkeys(named, "client"))
    link = Script(GradientNorm(step=7, norm="1.0"))
    client.clip_with(link, GIVEN)  # type: ignore[arg-type]
    assert [(message.first, len(message.norms)) for message in link.told] == [(0, MAX_NORMS), (MAX_NORMS, 3)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(GradientNorms(step=6, norms=("1.0",)), id="of another step"),
        pytest.param(GradientNorms(step=7, norms=("1.0", "1.0")), id="too many"),
        pytest.param(GradientNorms(step=7), id="too few"),
        pytest.param(GradientNorms(step=7, norms=("-1.0",)), id="below zero"),
        pytest.param(GradientNorms(step=7, norms=("nan",)), id="no number"),
        pytest.param(Keep(round=1), id="something else"),
    ],
)
def test_norms_that_cannot_be_are_refused(says: Message) -> None:
    named = make_parameters([3, 3])
    server = make_side(named, "server", {"p0": "client", "p1": "server"})
    with pytest.raises(ProtocolViolation):
        server.clip_for({"client": [Script(says)]}, GIVEN)  # type: ignore[list-item]


def test_clients_that_hold_one_sum_tell_one_set_of_norms_which_counts_once() -> None:
    named = make_parameters([3, 3])
    owners = {"p0": "client", "p1": "server"}
    replicas = [Script(GradientNorms(step=7, norms=("1.5",))) for _ in range(2)]
    make_side(named, "server", owners).clip_for({"client": replicas}, GIVEN)  # type: ignore[dict-item]
    norm = torch.linalg.vector_norm(torch.stack([torch.tensor(1.5), compute_norms(make_parameters([3, 3]))["p1"]]))
    assert [link.told for link in replicas] == [[GradientNorm(step=7, norm=repr(float(norm)))]] * 2


def test_clients_whose_sums_differ_are_refused() -> None:
    replicas = [Script(GradientNorms(step=7, norms=(text,))) for text in ("1.5", "1.25")]
    server = make_side(make_parameters([3, 3]), "server", {"p0": "client", "p1": "server"})
    with pytest.raises(ProtocolViolation, match="other gradient norms at step 7"):
        server.clip_for({"client": replicas}, GIVEN)  # type: ignore[dict-item]


def test_a_gradient_that_is_not_finite_is_named_where_it_is() -> None:
    named = make_parameters([3])
    named["p0"].grad = torch.tensor([1.0, float("inf"), 0.0])
    with pytest.raises(NumericsInvalid, match="the gradient of p0 has the norm inf at step 7"):
        make_side(named, "client", {"p0": "client"}).clip_with(Script(), GIVEN)  # type: ignore[arg-type]


def test_trained_parameters_of_two_dtypes_are_refused_and_frozen_ones_do_not_count() -> None:
    single, double = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1, dtype=torch.float64))
    with pytest.raises(ModelInvalid, match=r"float32, torch\.float64"):
        find_dtype([single, double])
    double.requires_grad = False
    assert find_dtype([single, double]) is torch.float32
