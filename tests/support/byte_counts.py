"""What crossed in a finished run, client by client and kind by kind, beside what the formulas say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from splittraining.api.plan_report import PlanReport
from splittraining.api.report import LinkBytes
from splittraining.api.resource import SplitTraining, parse_split_training
from splittraining.api.spec.schedule import ParallelBatch
from splittraining.cli.plan_text import compute_round_bytes
from splittraining.party.training.rounds.shares import iterate_shares
from splittraining.plan.costs import compute_client_costs, list_evaluating, sum_bytes_of
from splittraining.plan.moves import (
    Link,
    RoundSteps,
    compute_evaluation_moves,
    compute_finish_moves,
    compute_round_moves,
    count_parallel_steps,
)
from support.cases import Case
from support.runs import FinishedRun

COUNTED_AT_BOTH_ENDS = ("payload", "labels", "evaluation", "moved", "framing")


@dataclass(frozen=True, slots=True)
class Bytes:
    """Tensor bytes that one client sent and received, each kind apart."""

    training: int = 0
    """Activations and their gradients."""
    labels: int = 0
    evaluation: int = 0
    """What went forward only, with its labels."""
    moved: int = 0
    """Weights, buffers, optimizer state and gradients, sealed."""

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: Bytes) -> Bytes:
        return Bytes(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))

    @property
    def total(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))


# --- measured ---------------------------------------------------------------------------------------------------------


def list_links(run: FinishedRun) -> dict[Link, LinkBytes]:
    """Returns what each party counted with each peer."""
    return {(report.party, link.peer): link for report in run.record.reports for link in report.links}


def measure(run: FinishedRun, client: str) -> Bytes:
    """Returns what one client counted over a whole run."""
    own = [link for (party, _), link in list_links(run).items() if party == client]
    labels = sum(link.labels_sent + link.labels_received for link in own)
    evaluation = sum(link.evaluation_sent + link.evaluation_received for link in own)
    payload = sum(link.payload_sent + link.payload_received for link in own)
    moved = sum(link.moved_sent + link.moved_received for link in own)
    return Bytes(payload - labels - evaluation, labels, evaluation, moved)


def measure_moves(run: FinishedRun) -> Counter[Link]:
    """Returns what was sealed from whom to whom, as its senders counted it."""
    return Counter({pair: link.moved_sent for pair, link in list_links(run).items() if link.moved_sent})


def find_disagreements(run: FinishedRun) -> list[tuple[str, str, str]]:
    """Returns the counts that a sender and its receiver have not alike."""
    links = list_links(run)
    nothing = LinkBytes(peer="nobody")
    return [
        (sender, receiver, kind)
        for sender, receiver in links
        for kind in COUNTED_AT_BOTH_ENDS
        if getattr(links[sender, receiver], f"{kind}_sent")
        != getattr(links.get((receiver, sender), nothing), f"{kind}_received")
    ]


# --- by the formulas --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """The formulas for one case: nothing of it is measured.

    Attributes:
        case: What is trained.
        report: Its plan.
    """

    case: Case
    report: PlanReport

    @cached_property
    def training(self) -> SplitTraining:
        return parse_split_training(self.case.documents()[0])

    @property
    def clients(self) -> list[str]:
        return [each["name"] for each in self.case.spec["clients"]]

    def compute_run(self, client: str, rounds: int) -> Bytes:
        """Returns what one client sends and receives in a whole run."""
        rounds_values = [self._compute_values(client, number) for number in range(1, rounds + 1)]
        num_evaluations = sum(1 for _ in self._iterate_evaluated(rounds))
        return Bytes(
            sum(each.training for each in rounds_values),
            sum(each.labels for each in rounds_values),
            rounds_values[0].evaluation * num_evaluations,
            sum_bytes_of(self.compute_run_moves(rounds), {client}),
        )

    def compute_round(self, client: str, number: int) -> Bytes:
        """Returns what one client sends and receives in one round that ends with an evaluation, as in a long run."""
        moves = self._compute_moves(number) + self._compute_evaluation_moves()
        values = self._compute_values(client, number)
        return Bytes(values.training, values.labels, values.evaluation, sum_bytes_of(moves, {client}))

    def compute_run_moves(self, rounds: int) -> Counter[Link]:
        """Returns what is sealed from whom to whom in a whole run."""
        spec = self.training.spec
        moves = sum((self._compute_moves(number) for number in range(1, rounds + 1)), Counter[Link]())
        for _ in self._iterate_evaluated(rounds):
            moves += self._compute_evaluation_moves()
        return moves + compute_finish_moves(self.report, spec, list_evaluating(spec, self._count_rows("test")))

    def _iterate_evaluated(self, rounds: int) -> Iterator[int]:
        every = self.case.spec["training"]["evaluation"]["everyRounds"]
        return (number for number in range(1, rounds + 1) if number % every == 0 or number == rounds)

    def _compute_values(self, client: str, number: int) -> Bytes:
        training, train_rows = self.training, self._count_rows("train")
        costs = compute_client_costs(
            self.report,
            training.spec,
            lambda plan: compute_round_bytes(plan, training, train_rows, number),
            self._count_rows("test"),
        )
        (cost,) = (each for each in costs if each.client == client)
        assert cost.training is not None
        assert cost.labels is not None
        # A client of which no test rows are told evaluates none.
        return Bytes(cost.training, cost.labels, cost.evaluation or 0)

    def _compute_moves(self, number: int) -> Counter[Link]:
        moves = compute_round_moves(self.report, self.training.spec, self._count_steps(number), is_first=number == 1)
        assert moves is not None
        return moves

    def _compute_evaluation_moves(self) -> Counter[Link]:
        spec = self.training.spec
        return compute_evaluation_moves(self.report, spec, list_evaluating(spec, self._count_rows("test")))

    def _count_steps(self, number: int) -> RoundSteps | None:
        """Counts a parallel round's steps; where they depend on a draw, by drawing as the parties do."""
        spec, train_rows = self.training.spec, self._count_rows("train")
        if spec.schedule.parallel is None or spec.schedule.parallel.batch is ParallelBatch.UNION:
            return count_parallel_steps(spec, train_rows)
        shares = list(
            iterate_shares(
                spec.schedule.parallel.batch,
                seed=spec.training.seed,
                epoch=number - 1,
                batch_size=spec.training.batch_size,
                train_rows=train_rows,
            )
        )
        return RoundSteps(len(shares), _count_with_rows(train_rows, shares))

    def _count_rows(self, part: str) -> dict[str, int]:
        rows = {}
        for each in self.case.spec["clients"]:
            if "data" in each and part in each["data"]:
                table = self.case.tables[each["data"]["volume"]["persistentVolumeClaim"]["claimName"]][part]
                rows[each["name"]] = len(next(iter(table.values())))
        return rows


def _count_with_rows(names: Mapping[str, int], shares: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, int]:
    return {name: sum(1 for share in shares if len(share[name])) for name in names}
