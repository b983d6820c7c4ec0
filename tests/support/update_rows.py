"""Rows for the rules on how weights are updated, and on which round's weights are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.builders import TrainingBuilder
from support.rule_rows import MULTI_TASK, PRETRAINED, VANILLA, VANILLA_WARM, VERTICAL, WARM_START, Row, make_rows

_SCHEDULE = "spec.training.learningRateSchedule"


def _scheduled(**fields: Any) -> TrainingBuilder:
    return VANILLA.with_value(_SCHEDULE, fields)


def _evaluated(fields: Mapping[str, Any]) -> TrainingBuilder:
    return VANILLA.with_value("spec.training.evaluation", dict(fields))


def _grouped(**fields: Any) -> TrainingBuilder:
    return VANILLA.with_value("spec.training.optimizer.parameterGroups", [{"parameters": ["*.bias"], **fields}])


_STEP = {"name": "Step", "every": 10}
_COSINE = {"name": "Cosine", "horizon": 20}
_STOPPING = {"patienceRounds": 3}
_UNTESTED = VANILLA.without("spec.clients.0.data.test").without("spec.clients.1.data.test")
_GLOBAL = VANILLA.with_value("spec.training.gradientClipping", {"mode": "GlobalNorm", "limit": "1"})
_APART = {"mode": "Parallel", "parallel": {"clientPolicy": "Private"}}
_PRIVATE = VANILLA.with_value("spec.model.initialization", "Private")

UPDATE_ROWS: tuple[Row, ...] = (
    *make_rows(
        _SCHEDULE,
        "every belongs to Step",
        refused={
            "Step without every": _scheduled(name="Step"),
            "Constant with every": _scheduled(name="Constant", every=3),
        },
        accepted={"Step with every": _scheduled(**_STEP), "Constant": _scheduled(name="Constant", warmup=3)},
    ),
    *make_rows(
        _SCHEDULE,
        "milestones belong to MultiStep",
        refused={
            "MultiStep without milestones": _scheduled(name="MultiStep"),
            "MultiStep with no milestones": _scheduled(name="MultiStep", milestones=[]),
            "Step with milestones": _scheduled(**_STEP, milestones=[3]),
        },
        accepted={"MultiStep with milestones": _scheduled(name="MultiStep", milestones=[30, 60], gamma="0.5")},
    ),
    *make_rows(
        _SCHEDULE,
        "horizon belongs to Linear and Cosine",
        refused={
            "Cosine without horizon": _scheduled(name="Cosine"),
            "Linear without horizon": _scheduled(name="Linear"),
            "Step with horizon": _scheduled(**_STEP, horizon=5),
        },
        accepted={"Cosine with horizon": _scheduled(**_COSINE), "Linear": _scheduled(name="Linear", horizon=9)},
    ),
    *make_rows(
        _SCHEDULE,
        "horizon counts from the start",
        refused={"a horizon within the warm-up": _scheduled(name="Cosine", horizon=5, warmup=5)},
        accepted={"a horizon after the warm-up": _scheduled(name="Cosine", horizon=6, warmup=5, unit="Step")},
    ),
    *make_rows(
        _SCHEDULE,
        "gamma belongs to",
        refused={"Cosine with gamma": _scheduled(**_COSINE, gamma="0.5")},
        accepted={"Step with gamma": _scheduled(**_STEP, gamma="0.5"), "Cosine without": _scheduled(**_COSINE)},
    ),
    *make_rows(
        _SCHEDULE,
        "minimumFactor belongs to",
        refused={
            "Step with minimumFactor": _scheduled(**_STEP, minimumFactor="0.1"),
            "a factor above 1": _scheduled(**_COSINE, minimumFactor="1.5"),
        },
        accepted={"a factor of 1": _scheduled(**_COSINE, minimumFactor="1"), "no factor": _scheduled(**_STEP)},
    ),
    *make_rows(
        "spec.training.gradientClipping",
        "a limit of 0",
        refused={
            f"a limit of {limit}": VANILLA.with_value(
                "spec.training.gradientClipping", {"mode": "GlobalNorm", "limit": limit}
            )
            for limit in ("0", "0.0", "0e5")
        },
        accepted={
            f"a limit of 1e-3 for {mode}": VANILLA.with_value(
                "spec.training.gradientClipping", {"mode": mode, "limit": "1e-3"}
            )
            for mode in ("GlobalNorm", "SegmentNorm", "Value")
        },
    ),
    *make_rows(
        "spec.training.optimizer.parameterGroups[]",
        "a parameter group says",
        refused={"a group like the others": _grouped()},
        accepted={
            "a group without decay": _grouped(weightDecay="0"),
            "a group with a rate of its own": _grouped(learningRateFactor="0.1"),
        },
    ),
    *make_rows(
        "spec.training",
        "monitor names what is not computed",
        refused={
            "AUC monitored and not computed": _evaluated({"monitor": "AUC", "keep": "Best", "metrics": ["Accuracy"]})
        },
        accepted={
            "AUC monitored and computed": _evaluated(
                {"monitor": "AUC", "keep": "Best", "metrics": ["Accuracy", "AUC"]}
            ),
            "the loss monitored": _evaluated({"keep": "Best"}),
        },
    ),
    *make_rows(
        "spec.training",
        "monitor is what earlyStopping and keep go by",
        refused={"monitored for nothing": _evaluated({"monitor": "AUC", "metrics": ["AUC"]})},
        accepted={
            "monitored to stop": _evaluated({"monitor": "AUC", "metrics": ["AUC"], "earlyStopping": _STOPPING}),
            "the loss, for nothing": _evaluated({"monitor": "Loss"}),
        },
    ),
    *make_rows(
        "spec",
        "with tasks rounds are compared by the sum",
        refused={
            "the accuracy of tasks": MULTI_TASK.with_value(
                "spec.training.evaluation", {"metrics": ["Accuracy"], "monitor": "Accuracy", "keep": "Best"}
            )
        },
        accepted={
            "the loss of tasks": MULTI_TASK.with_value("spec.training.evaluation.keep", "Best"),
            "the accuracy of one loss": _evaluated({"metrics": ["Accuracy"], "monitor": "Accuracy", "keep": "Best"}),
        },
    ),
    *make_rows(
        "spec",
        "rounds are compared over test rows",
        refused={
            "early stopping without test rows": _UNTESTED.with_value(
                "spec.training.evaluation", {"earlyStopping": _STOPPING}
            ),
            "the best round without test rows": _UNTESTED.with_value("spec.training.evaluation", {"keep": "Best"}),
        },
        accepted={
            "early stopping with test rows": _evaluated({"earlyStopping": _STOPPING}),
            "the last round without test rows": _UNTESTED.with_value("spec.training.evaluation", {"keep": "Last"}),
        },
    ),
    *make_rows(
        "spec",
        "with clientPolicy Private there is no one gradient",
        refused={"a global norm of private gradients": _GLOBAL.with_value("spec.schedule", _APART)},
        accepted={
            "a global norm of summed gradients": _GLOBAL.with_value(
                "spec.schedule", {"mode": "Parallel", "parallel": {}}
            ),
            "private gradients clipped one by one": VANILLA.with_value("spec.schedule", _APART).with_value(
                "spec.training.gradientClipping", {"mode": "SegmentNorm", "limit": "1"}
            ),
            "a global norm in turns": _GLOBAL,
        },
    ),
    *make_rows(
        "spec",
        "Private means",
        refused={
            "Private and handed on": _PRIVATE,
            "Private and summed": _PRIVATE.with_value("spec.schedule", {"mode": "Parallel", "parallel": {}}),
            "Private and averaged": _PRIVATE.with_value("spec.schedule", {"mode": "SplitFed", "splitFed": {}}),
        },
        accepted={
            "Private in a Joint schedule": VERTICAL.with_value("spec.model.initialization", "Private"),
            "Private and not handed on": _PRIVATE.with_value("spec.schedule.sequential.handoff", "None"),
            "Private and never summed": _PRIVATE.with_value("spec.schedule", _APART),
            "Private and never averaged": _PRIVATE.with_value(
                "spec.schedule", {"mode": "SplitFed", "splitFed": {"clientPolicy": "Private"}}
            ),
        },
    ),
    *make_rows(
        "spec",
        "clients that share one segment start",
        refused={
            "one warm client": VANILLA_WARM.without("spec.clients.1.warmStart"),
            "one warm client, the second": VANILLA_WARM.without("spec.clients.0.warmStart"),
            "two files": VANILLA_WARM.with_value("spec.clients.1.warmStart.digest", "sha256:" + "1" * 64),
            "two choices": VANILLA_WARM.with_value("spec.clients.1.warmStart.parameters", ["bottom.*"]),
        },
        accepted={
            "two warm clients, each with a path of its own": VANILLA_WARM.with_value(
                "spec.clients.1.warmStart.path", "other.safetensors"
            ),
            "one warm client of two that hand nothing on": VANILLA_WARM.without("spec.clients.1.warmStart").with_value(
                "spec.schedule.sequential.handoff", "None"
            ),
            "two warm clients, each with a claim of its own": VANILLA_WARM.with_value(
                "spec.clients.1.warmStart", PRETRAINED
            ),
            "a warm server of clients that are not": VANILLA.with_value("spec.server.warmStart", PRETRAINED),
            "one warm client in a Joint schedule": VERTICAL.with_value("spec.clients.0.warmStart", WARM_START),
            "nobody": VANILLA,
        },
    ),
)
