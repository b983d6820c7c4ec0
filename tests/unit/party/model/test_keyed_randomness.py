"""Random operations draw by seed, place in the model, step and shard, and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from splittraining.party.model.randomness import KeyedGenerators
from splittraining.party.model.segment import Segment
from splittraining.party.model.topology import build_uncut_stages
from splittraining.party.model.trace import Origin
from support.in_process import Batch, cut, describe_inputs, vanilla
from support.models import Lambda, NoisyNet


def make_batch() -> Batch:
    return {"x": torch.randn(4, 6)}, torch.zeros(4, dtype=torch.int64)


def draw(seed: int = 7, *, step: int = 0, shard: str = "", position: int = 0) -> float:
    origins = [
        Origin("drop", 1, 0, 0, ""), Origin("drop", 2, 0, 0, ""), Origin("", 1, 0, 0, ""), Origin("", 1, 1, 0, ""),
        Origin("other", 1, 0, 0, ""),
    ]  # fmt: skip
    keys = KeyedGenerators(seed, origins)
    keys.begin(step=step, shard=shard)
    keys.reseed(position)
    return float(torch.rand(()))


def test_the_same_key_draws_the_same() -> None:
    assert draw() == draw()


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"seed": 7 + 2**32}, {"step": 1}, {"shard": "st-mary"}, *({"position": p} for p in range(1, 5))],
    ids=str,
)
def test_every_part_of_the_key_matters(other: Mapping[str, int | str]) -> None:
    assert draw(**other) != draw()  # type: ignore[arg-type]


def _forward(segment: Segment, batch: Batch, *, step: int, shard: str = "", training: bool = True) -> torch.Tensor:
    with torch.no_grad():
        (result,) = segment.forward(batch[0], {}, training=training, step=step, shard=shard).values()
    return result


def test_a_segment_draws_anew_in_each_step_and_shard_and_the_same_again_in_the_same_step() -> None:
    batch = make_batch()
    model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5))
    model = Lambda(lambda m, x: m.body(x), body=model)
    segment = cut(model, build_uncut_stages(describe_inputs(batch)), batch).segments[0]

    first = _forward(segment, batch, step=0)  # the run that finds out which operations draw
    assert torch.equal(_forward(segment, batch, step=0), first)
    assert not torch.equal(_forward(segment, batch, step=1), first)
    assert not torch.equal(_forward(segment, batch, step=0, shard="b"), first)


def test_evaluation_draws_nothing_by_itself() -> None:
    batch = make_batch()
    segment = cut(NoisyNet(), vanilla("first"), batch).segments[0]

    first, later = (_forward(segment, batch, step=step, training=False) for step in (0, 9))

    assert torch.equal(first, later)


def test_finding_out_which_operations_draw_counts_the_batch_once() -> None:
    batch, model = make_batch(), NoisyNet()
    segment = cut(model, vanilla("first"), batch).segments[0]

    _forward(segment, batch, step=0)

    assert int(model.first[1].num_batches_tracked) == 1


def test_a_model_without_random_operations_leaves_the_generator_alone_after_its_first_run() -> None:
    batch = make_batch()
    segment = cut(Lambda(lambda m, x: m.a(x), a=nn.Linear(6, 3)), build_uncut_stages(describe_inputs(batch)), batch)
    _forward(segment.segments[0], batch, step=0)
    before = torch.get_rng_state()

    _forward(segment.segments[0], batch, step=1)

    assert torch.equal(torch.get_rng_state(), before)
