"""docs/bytes.md: what trainings of every schedule counted, beside the formulas. Written by `make docs-bytes`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from splittraining.api.plan_report import PlanReport
from splittraining.report.markdown import render_table
from support.byte_cases import BYTE_CASES
from support.byte_counts import Bytes, Formula, find_disagreements, list_links, measure, measure_moves
from support.cases import Case
from support.house_support import ROOT
from support.runs import FinishedRun, run_case

PAGE = ROOT / "docs" / "bytes.md"
Numbers = dict[tuple[str, str], list[int]]
"""A table's numbers by schedule and client."""

ROUND_HEADER = (
    "schedule",
    "client",
    "training",
    "labels",
    "moved",
    "evaluation",
    "a round",
    "by the formula",
    "difference",
)
RUN_HEADER = ("schedule", "client", "two rounds", "by the formula", "difference", "headers of values", "envelopes")


@dataclass(frozen=True)
class Row:
    """One client of one schedule.

    Attributes:
        schedule: Its name on the page.
        client: Who counted.
        round: Measured in the second round, which is one as in a long training.
        run: Measured over a training of two rounds.
        round_formula: The same by the formulas.
        run_formula: Likewise.
        headers: Headers of the values' frames, over the two rounds.
        envelopes: What sealed blobs had beside the tensors that moved, over the two rounds.
    """

    schedule: str
    client: str
    round: Bytes
    run: Bytes
    round_formula: Bytes
    run_formula: Bytes
    headers: int
    envelopes: int


def measure_rows(schedule: str, case: Case, folder: Path) -> list[Row]:
    """Trains a case for one round and for two, and returns what its clients counted.

    Counters say what crossed since the start, and a training of one round ends as one of two does: the difference is
    the second round.
    """
    short, long = (
        _succeed(case.changed(lambda spec, rounds=rounds: spec.update(rounds=rounds)), folder / str(rounds))
        for rounds in (1, 2)
    )
    formula = Formula(case, read_plan(long))
    for rounds, run in ((1, short), (2, long)):
        assert not find_disagreements(run)
        assert measure_moves(run) == formula.compute_run_moves(rounds)
    return [
        Row(
            schedule,
            client,
            round=measure(long, client) - measure(short, client),
            run=measure(long, client),
            round_formula=formula.compute_round(client, 2),
            run_formula=formula.compute_run(client, 2),
            headers=_count_headers(long, client),
            envelopes=_count_envelopes(long, client),
        )
        for client in formula.clients
    ]


def measure_all(folder: Path) -> list[Row]:
    """Measures every schedule."""
    return [
        row
        for index, (schedule, case) in enumerate(BYTE_CASES.items())
        for row in measure_rows(schedule, case, folder / f"{index:02}")
    ]


def read_plan(run: FinishedRun) -> PlanReport:
    """Returns the plan that the parties of a run agreed on."""
    return PlanReport.model_validate(json.loads((run.folder / "server" / "plan.json").read_text("utf-8")))


def render_page(rows: Iterable[Row]) -> str:
    """Renders the page."""
    rows = list(rows)
    return _PAGE.format(
        formulas=render_table(("kind", "what", "bytes per client and round"), _FORMULAS),
        rounds=render_table(ROUND_HEADER, list(map(_render_round, _name_once(rows)))),
        runs=render_table(RUN_HEADER, list(map(_render_run, _name_once(rows)))),
    )


def parse_page(text: str) -> tuple[Numbers, Numbers]:
    """Returns the numbers of the page's two tables of measurements."""
    return _parse_table(text, "A round", ROUND_HEADER), _parse_table(text, "A training of two rounds", RUN_HEADER)


def _parse_table(text: str, heading: str, header: tuple[str, ...]) -> Numbers:
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    assert tuple(lines[0]) == header
    rows, schedule = {}, ""
    for name, client, *numbers in lines[2:]:
        schedule = name or schedule
        rows[schedule, client] = [int(number) for number in numbers]
    return rows


def _name_once(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with the schedule's name at its first client alone."""
    earlier = ["", *(row.schedule for row in rows)]
    return [
        replace(row, schedule="" if row.schedule == above else row.schedule)
        for row, above in zip(rows, earlier, strict=False)
    ]


def _render_round(row: Row) -> list[str]:
    measured, formula = row.round, row.round_formula
    kinds = (measured.training, measured.labels, measured.moved, measured.evaluation)
    sums = (measured.total, formula.total, _compute_difference(measured, formula))
    return [row.schedule, row.client, *map(str, (*kinds, *sums))]


def _render_run(row: Row) -> list[str]:
    sums = (row.run.total, row.run_formula.total, _compute_difference(row.run, row.run_formula))
    return [row.schedule, row.client, *map(str, (*sums, row.headers, row.envelopes))]


def _compute_difference(measured: Bytes, formula: Bytes) -> int:
    """Adds up what the kinds differ by: two that cancel each other out are no equality."""
    pairs = (
        (measured.training, formula.training),
        (measured.labels, formula.labels),
        (measured.moved, formula.moved),
        (measured.evaluation, formula.evaluation),
    )
    return sum(abs(one - other) for one, other in pairs)


def _count_headers(run: FinishedRun, client: str) -> int:
    own = [link for (party, _), link in list_links(run).items() if party == client]
    return sum(link.framing_sent + link.framing_received for link in own)


def _count_envelopes(run: FinishedRun, client: str) -> int:
    own = [link for (party, _), link in list_links(run).items() if party == client]
    sealed = sum(link.sealed_sent + link.sealed_received for link in own)
    return sealed - sum(link.moved_sent + link.moved_received for link in own)


def _succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


_FORMULAS = (
    ("training", "activations and their gradients", "2·(p/K)·q of its own rows; in Joint 2·p·q of its own links"),
    ("labels", "where the party that computes the loss does not hold them", "(p/K)·l"),
    (
        "moved",
        "Sequential with hand-off",
        "S received and S sent; in the very first round of a training the first client receives none",
    ),
    (
        "moved",
        "Sequential with hand-off, for an evaluation",
        "W on its way from who trained last to all that have test rows, with PeerToPeer through those between",
    ),
    ("moved", "Sequential with hand-off, at the end of a training", "W, on to whoever still lacks it"),
    (
        "moved",
        "Parallel, SumGradients",
        "G sent in each step to which it brings rows, G received in each; the averaging client so with each other",
    ),
    ("moved", "SplitFed, Average", "W sent, W received; the averaging client so with each other"),
    ("evaluation", "test rows, forward only", "(q + l) for each of its test rows"),
)

_PAGE = """\
# Bytes, measured and by the formulas

<!-- Written by `make docs-bytes` from trainings of tests/support/byte_cases.py: change these, not this page. -->

What a client sends and receives in a round, as the channels of a real run counted it (one process per party, mutual
TLS), beside the formulas that `splittraining plan` fills in. Each number is bytes of tensors, sent and received
together. The difference is the sum over the four kinds, each compared by itself.

## The formulas

K clients, p training rows in all, q bytes a row at the cuts, l bytes of a row's labels. A client segment weighs **W**
(parameters and buffers), its gradients **G** (parameters that are trained), and with the optimizer's state
**S** = W + s·G: s is 0 for SGD, 1 with momentum, 2 for Adam and AdamW, which also keep 4 bytes per trained parameter.

{formulas}

This is the published cost table (2·(p/K)·q, 2·η·N for each hand-off or average, 2·η·N a step for summed gradients) with
labels, evaluation, buffers and optimizer state added. In Parallel with `batch: Global` it is drawn which rows meet in a
step, so `splittraining plan` says at most how much moves; the table counts the steps that were drawn. In Sequential
with turns of steps it likewise says the most, since a turn may have the short batch that ends an epoch.

## A round

{rounds}

All three clients of the Vanilla models have 5 test rows, but in *Sequential, PeerToPeer* one has none: weights pass
through it all the same.

## A training of two rounds

The first round lacks a hand-off, and the end may add one. Beside the tensors there is framing, which no formula of the
literature has:

- **headers of values**: 64 bytes for each chunk of a value, 144 where the server relays it sealed, and 8 per dimension
  for the [strides](wire.md#3-tensors) of a value or gradient that is a view.
- **envelopes**: all that sealed blobs hold beside the tensors that moved: the names and shapes of tensors, the seal
  (48 bytes), the header of each chunk (64 bytes); and the blobs without tensors, which agree on keys and the clients'
  secret.

Control messages and heartbeats come on top: [what is counted](wire.md#7-what-is-counted). In models as small as these
framing outweighs the tensors; for values of 64 KiB it is less than 1 %.

{runs}
"""
