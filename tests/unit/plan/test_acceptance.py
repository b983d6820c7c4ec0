"""Whether a training can be taken on."""

from __future__ import annotations

from splittraining.api.errors import NotSupported, SpecInvalid
from splittraining.plan.acceptance import find_problems
from support.builders import a_u_shaped_training, a_vanilla_training, a_vertical_training


def test_the_three_shapes_are_accepted():
    for build in (a_vanilla_training, a_u_shaped_training, a_vertical_training):
        assert find_problems(build().build()) == []


def test_what_the_api_forbids_comes_before_what_this_version_lacks():
    training = (
        a_vanilla_training()
        .with_value("spec.mode", "Predict")
        .with_value("spec.model.cutPoints", [])
        .without("spec.model.label")
        .build()
    )
    assert [type(problem) for problem in find_problems(training)] == [SpecInvalid, SpecInvalid, NotSupported]
