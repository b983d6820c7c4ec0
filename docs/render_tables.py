"""Writes the tables in docs/ that come from code: `make docs`. `make verify` fails where one is not as written here."""

from __future__ import annotations

import enum
import inspect
from pathlib import Path

from splittraining.api import errors
from splittraining.api.conditions import REASONS, ConditionType, FailedReason
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.api.reasons import ADVICE
from splittraining.controller.metrics import Metrics, list_metrics

HERE = Path(__file__).resolve().parent
METRICS_PAGE = HERE / "metrics.md"
EXIT_CODES_PAGE = HERE / "exit-codes.md"
REASONS_PAGE = HERE / "reasons.md"

_WITHOUT_AN_ERROR = {
    ExitCode.OK: "All went well.",
    ExitCode.INTERNAL: "A fault of this project.",
    ExitCode.USAGE: "A command line that cannot be followed: an unknown flag, a folder that is taken.",
    ExitCode.CLUSTER_FAILED: "A cluster that is not configured, does not answer, or refuses.",
    ExitCode.DEADLINE_EXCEEDED: "The training ran longer than its activeDeadlineSeconds.",
    ExitCode.TOO_MANY_RESTARTS: "One party was lost more often than its training allows.",
    ExitCode.CONSENT_WITHDRAWN: "An institution took its consent back.",
    ExitCode.INTERRUPTED: "Somebody pressed Ctrl-C, or the command was asked to stop.",
}
"""What codes mean that no error of a party stands for."""

_MAY_HELP = range(ExitCode.PREEMPTED, ExitCode.STALLED + 1)
"""A peer or the machine went away: trying again, with everything as it is, can help."""

_INTRODUCTION = """\
# Exit codes

<!-- Written by `make docs` from operator/splittraining/api/exit_codes.py and errors.py: change them, not this page. -->

A party ends with one of these, and writes the same code with the reason and a sentence into its `termination.json`.
`splittraining run` ends with the code of the party that began the trouble, not of those that only heard of it, and
`splittraining status --watch` with the one that the reason of `Failed` stands for. Numbers are given once and never
reused.

The sentence itself says more than a table can: what was given, what is allowed, what to do. *Again* says whether trying
again with everything as it is can help. A party that a signal ended has 128 plus the signal's number.
"""


def render_exit_codes() -> str:
    """Renders docs/exit-codes.md."""
    rows = ["| code | name | reason | what happened | what to do | again |", "|---:|---|---|---|---|---|"]
    for code in ExitCode:
        reason, meaning = _describe(code)
        again = "can help" if code in _MAY_HELP else ""
        rows.append(f"| {code.value} | {code.name} | {reason} | {meaning} | {REMEDIES[code]} | {again} |")
    return _INTRODUCTION + "\n" + "\n".join(rows) + "\n"


def _describe(code: ExitCode) -> tuple[str, str]:
    """Returns the errors that end with a code, and what they mean."""
    if code in _WITHOUT_AN_ERROR:
        return "", _WITHOUT_AN_ERROR[code]
    kinds = [
        kind for kind in vars(errors).values() if inspect.isclass(kind) and getattr(kind, "exit_code", None) == code
    ]
    names = ", ".join(kind.__name__ for kind in kinds)
    return names, " ".join((inspect.getdoc(kind) or "").splitlines()[0] for kind in kinds)


_REASONS_INTRODUCTION = """\
# Conditions and their reasons

<!-- Written by `make docs` from operator/splittraining/api/conditions.py and reasons.py: change those. -->

`kubectl describe splittraining NAME` shows every condition with a reason and a sentence. The sentence says more than
a table can: which party, what was found, what is allowed. `kubectl wait --for=condition=Complete` waits for the end,
`--for=condition=Failed` for the other one. The reason of `Progressing` is what `kubectl get` prints as the state.
"""


def render_reasons() -> str:
    """Renders docs/reasons.md."""
    rows = ["| condition | reason | what it means | what to do |", "|---|---|---|---|"]
    for condition, reasons in REASONS.items():
        rows += [f"| {condition} | {reason} | {' | '.join(describe_reason(condition, reason))} |" for reason in reasons]
    return _REASONS_INTRODUCTION + "\n" + "\n".join(rows) + "\n"


def describe_reason(condition: ConditionType, reason: enum.StrEnum) -> tuple[str, str]:
    """Returns what a reason means and what to do; a party's own error is explained by its exit code."""
    if (condition, reason) in ADVICE:
        return ADVICE[condition, reason]
    assert isinstance(reason, FailedReason)
    kind = getattr(errors, reason.value)
    return (inspect.getdoc(kind) or "").splitlines()[0], REMEDIES[kind.exit_code]


_METRICS_INTRODUCTION = """\
# Metrics of the operator

<!-- Written by `make docs` from operator/splittraining/controller/metrics.py: change that, not this page. -->

Every replica serves these at `/metrics` on port 8080, in Prometheus' text format. What concerns trainings is shown by
the leader alone (`splittraining_leading` is 1 there). Histograms have the usual `_bucket`, `_sum` and `_count`.

Worth an alert: no replica that leads; `splittraining_queue_oldest_seconds` above a minute;
`splittraining_missed_changes_total` that grows at every list, for then a watch is deaf;
`splittraining_ca_replacements_total` above 0 where nobody replaced the CA on purpose.
"""


def render_metrics() -> str:
    """Renders docs/metrics.md."""
    rows = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    rows += [
        f"| `{row.name}` | {row.kind} | {', '.join(row.labels)} | {row.meaning} |" for row in list_metrics(Metrics())
    ]
    return _METRICS_INTRODUCTION + "\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    METRICS_PAGE.write_text(render_metrics(), encoding="utf-8")
    EXIT_CODES_PAGE.write_text(render_exit_codes(), encoding="utf-8")
    REASONS_PAGE.write_text(render_reasons(), encoding="utf-8")
