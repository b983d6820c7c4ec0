"""Several tasks: who owns what after the trunk, what crosses, what is refused, and the order in which heads add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from splittraining.api.errors import ModelInvalid, NumericsInvalid
from splittraining.api.spec.model import InputSpec
from splittraining.api.wire_plan import DType, ValueSource
from splittraining.party.model.cut import CutModel, cut_model
from splittraining.party.model.stages import StageSpec
from support.models import Lambda, PairLambda


class Pair(NamedTuple):
    """Two outputs by name."""

    a: Tensor
    b: Tensor


def layers(*names: str) -> dict[str, nn.Module]:
    return {name: nn.Linear(4, 4) for name in ("stem", "trunk", *names)}


def stages(*outputs: str, trunk: Sequence[str] = ("trunk",), argument: str = "x") -> tuple[StageSpec, ...]:
    heads = [StageSpec(f"of-{name}", holds_label=True, task=name, output=name) for name in outputs]
    return (StageSpec("lab", ("stem",), (argument,)), StageSpec("server", tuple(trunk)), *heads)


def cut(model: nn.Module, given: Sequence[StageSpec], **options: Any) -> CutModel:
    names = [name for stage in given[:-1] for name in stage.arguments if not stage.task]
    inputs = [InputSpec(name=name, dtype=DType.FLOAT32, shape=(4,)) for name in dict.fromkeys(names)]
    return cut_model(model, stages=given, inputs=inputs, label=None, seed=1, **options)


def owned(result: CutModel) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for segment in result.segments:
        names.setdefault(segment.owner, set()).update(name.partition(".")[0] for name in segment.parameters())
    return names


def two_heads(model: Any, x: Tensor) -> dict[str, Tensor]:
    shared = model.trunk(model.stem(x))
    return {"a": model.a(torch.relu(shared)), "b": model.b(shared)}


def test_each_head_belongs_to_its_task_and_the_trunk_to_the_server() -> None:
    result = cut(Lambda(two_heads, **layers("a", "b")), stages("a", "b"))
    assert owned(result) == {"lab": {"stem"}, "server": {"trunk"}, "of-a": {"a"}, "of-b": {"b"}}
    assert [(value.name, value.producer, value.consumers) for value in result.wire_plan.values] == [
        ("stem", 0, (1,)),
        ("trunk", 1, (2, 3)),
    ]
    assert [(item.stage, item.task) for item in result.wire_plan.loss_stages] == [(2, "a"), (3, "b")]


def test_a_gradient_goes_from_each_head_straight_to_the_server() -> None:
    plan = cut(Lambda(two_heads, **layers("a", "b")), stages("a", "b")).wire_plan
    back = [(t.value.name, t.sender, t.receiver) for stage in (3, 2, 1) for t in plan.iterate_backward(stage)]
    assert back == [("trunk", "of-b", "server"), ("trunk", "of-a", "server"), ("stem", "server", "lab")]


@pytest.mark.parametrize("wrap", [lambda a, b: (a, b), lambda a, b: [a, b], Pair], ids=["tuple", "list", "named tuple"])
def test_outputs_are_told_by_position_too(wrap: Callable[..., Any]) -> None:
    model = Lambda(lambda m, x: wrap(*two_heads(m, x).values()), **layers("a", "b"))
    assert owned(cut(model, stages("0", "1")))["of-1"] == {"b"}


def test_outputs_of_a_named_tuple_are_told_by_name() -> None:
    model = Lambda(lambda m, x: Pair(**two_heads(m, x)), **layers("a", "b"))
    assert owned(cut(model, stages("a", "b")))["of-b"] == {"b"}


def test_a_head_may_be_empty_so_that_the_output_itself_crosses() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        shared = model.trunk(model.stem(x))
        return {"b": model.b(shared), "a": shared}

    result = cut(Lambda(forward, **layers("b")), stages("b", "a"))
    assert owned(result)["of-a"] == set()
    assert result.wire_plan.values[1].consumers == (2, 3)


def test_an_output_before_the_ends_of_the_trunk_crosses_to_the_loss_only() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        early = model.stem(x) + 1
        return {"b": model.b(model.trunk(early)), "a": early * 2}

    (value,) = (v for v in cut(Lambda(forward, **layers("b")), stages("b", "a")).wire_plan.values if "." in v.name)
    assert (value.name, value.source, value.consumers) == ("output.a", ValueSource.OUTPUT, (3,))


def test_what_no_task_needs_is_not_computed_and_stays_with_the_server() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        shared = model.trunk(model.stem(x))
        return {"a": model.a(shared), "b": model.b(shared), "unused": model.c(shared.exp())}

    result = cut(Lambda(forward, **layers("a", "b", "c")), stages("a", "b"))
    assert owned(result)["server"] == {"trunk", "c"}
    assert "c.weight" in " ".join(result.report.notes)
    assert [value.name for value in result.wire_plan.values] == ["stem", "trunk"]


def refused(
    forward: Callable[..., Any], *names: str, given: Sequence[StageSpec], kind: type = Lambda, **options: Any
) -> str:
    with pytest.raises((ModelInvalid, NumericsInvalid)) as caught:
        cut(kind(forward, **layers(*names)), given, **options)
    return str(caught.value)


def test_a_layer_that_two_heads_train_is_refused_by_name() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        common = model.common(model.trunk(model.stem(x)))
        return {"a": model.a(common), "b": model.b(common)}

    message = refused(forward, "a", "b", "common", given=stages("a", "b"))
    assert "`common`" in message
    assert "tasks a and b" in message
    assert "model.cutPoints" in message


def test_what_two_heads_need_without_parameters_crosses_only_if_it_is_listed() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        common = torch.relu(model.trunk(model.stem(x)))
        return {"a": model.a(common), "b": model.b(common)}

    assert "extraCrossings: [relu]" in refused(forward, "a", "b", given=stages("a", "b"))
    result = cut(Lambda(forward, **layers("a", "b")), stages("a", "b"), extra_crossings=["relu"])
    assert [(value.name, value.producer) for value in result.wire_plan.values] == [("stem", 0), ("relu", 1)]


def test_a_value_of_one_client_does_not_go_past_the_trunk_to_another_ones_head() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        stem = model.stem(x)
        shared = model.trunk(stem)
        return {"a": model.a(shared + stem), "b": model.b(shared)}

    assert "past the trunk" in refused(forward, "a", "b", given=stages("a", "b"))


def test_the_head_of_a_branchs_own_party_may_read_its_branch_and_its_input() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        stem = model.stem(x)
        shared = model.trunk(stem)
        return {"a": model.a(shared + stem + x), "b": model.b(shared)}

    own = StageSpec("lab", arguments=("x",), holds_label=True, task="a", output="a")
    given = (*stages("a", "b")[:2], own, stages("b")[-1])
    result = cut(Lambda(forward, **layers("a", "b")), given)
    assert owned(result)["lab"] == {"stem", "a"}
    assert {value.name for value in result.wire_plan.values} == {"stem", "trunk"}


def test_a_parameter_of_two_heads_is_refused() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        shared = model.trunk(model.stem(x))
        return {"a": model.a(shared), "b": model.a(shared.exp())}

    assert "used by of-a and of-b" in refused(forward, "a", given=stages("a", "b"))


@pytest.mark.parametrize(
    ("forward", "part"),
    [
        (lambda m, x: m.a(m.trunk(m.stem(x))), "return a dict with one tensor per task"),
        (lambda m, x: {"a": m.a(m.trunk(m.stem(x)))}, "names output 'b', which the model's forward does not return"),
        (lambda m, x: {"a": m.a(m.trunk(m.stem(x))), "b": 3}, "names output 'b'"),
    ],
    ids=["one tensor", "another output", "a number"],
)
def test_outputs_that_are_not_there_are_refused(forward: Callable[..., Any], part: str) -> None:
    assert part in refused(forward, "a", given=stages("a", "b"))


# --- exactness --------------------------------------------------------------------------------------------------------


def three_heads(model: Any, x: Tensor) -> dict[str, Tensor]:
    shared = model.trunk(model.stem(x))
    return {"a": model.a(shared), "b": model.b(shared), "c": model.c(shared) * model.d(shared)}


def test_the_last_head_may_read_the_trunks_value_twice() -> None:
    assert cut(Lambda(three_heads, **layers("a", "b", "c", "d")), stages("a", "b", "c")).report.inexact == ()


def test_tasks_in_another_order_than_their_heads_are_refused_with_the_order() -> None:
    message = refused(three_heads, "a", "b", "c", "d", given=stages("b", "a", "c"))
    assert "list tasks in the order in which forward computes their heads: a, b, c" in message
    inexact = cut(Lambda(three_heads, **layers("a", "b", "c", "d")), stages("b", "a", "c"), exact=False)
    assert inexact.report.inexact


def test_an_earlier_head_that_reads_twice_is_refused_and_a_copy_at_its_start_mends_it() -> None:
    def forward(model: Any, x: Tensor, *, copies: bool) -> dict[str, Tensor]:
        shared = model.trunk(model.stem(x))
        own = shared.clone() if copies else shared
        return {"a": model.a(own) + model.c(own), "b": model.b(shared)}

    message = refused(lambda m, x: forward(m, x, copies=False), "a", "b", "c", given=stages("a", "b"))
    assert "let the head of a read it once" in message
    model = Lambda(lambda m, x: forward(m, x, copies=True), **layers("a", "b", "c"))
    assert cut(model, stages("a", "b")).report.inexact == ()


def test_an_empty_head_reads_after_all_others() -> None:
    def forward(model: Any, x: Tensor) -> dict[str, Tensor]:
        shared = model.trunk(model.stem(x))
        return {"a": shared, "b": model.b(shared), "c": model.c(shared)}

    message = refused(forward, "b", "c", given=stages("a", "b", "c"))
    assert "computes their heads: b, c, a" in message
    assert cut(Lambda(forward, **layers("b", "c")), stages("b", "c", "a")).report.inexact == ()


def test_autograd_itself_adds_the_latest_head_first_and_the_other_order_gives_other_bits() -> None:
    torch.manual_seed(2)
    shared = torch.randn(64, 16, requires_grad=True)
    heads = [nn.Linear(16, 3) for _ in range(3)]
    losses = [head(shared).square().mean() for head in heads]
    first, second, third = (torch.autograd.grad(loss, shared, retain_graph=True)[0] for loss in losses)
    (losses[0] + losses[1] + losses[2]).backward()
    assert shared.grad is not None
    assert torch.equal(shared.grad, (third + second) + first)
    assert not torch.equal(shared.grad, (first + second) + third)


def test_two_branches_meet_in_the_trunk() -> None:
    def forward(model: Any, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        shared = model.trunk(model.stem(x) + model.other(y))
        return {"a": model.a(shared), "b": model.b(shared)}

    left, trunk, *heads = stages("a", "b")
    result = cut(
        PairLambda(forward, **layers("a", "b", "other")), (left, StageSpec("ward", ("other",), ("y",)), trunk, *heads)
    )
    assert owned(result)["ward"] == {"other"}
    assert owned(result)["server"] == {"trunk"}
