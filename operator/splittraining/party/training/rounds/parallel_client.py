"""Parallel at a client: its own rows of each step, and where the contract says so the sum of everybody's gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from splittraining.api.errors import DataInvalid, ProtocolViolation
from splittraining.api.spec.schedule import ParallelSpec
from splittraining.api.spec.training import LossName
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.engine import BeforeUpdate, Links, StepInput
from splittraining.party.training.feed import BatchFeed, Prefetched
from splittraining.party.training.metrics import DEFAULT_IGNORE_INDEX, render_number
from splittraining.party.training.rounds.shares import iterate_shares
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.orders import ParallelTurn, TurnDone


class ParallelPart:
    """A client's part in parallel rounds.

    Args:
        assembly: This party.
        feed: Its training rows.
        links: By owner name of the wire plan.
        telemetry: Told of every step.
        before_update: What is done with gradients before they are used; empty where every client keeps its own.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        feed: BatchFeed,
        links: Links,
        telemetry: Telemetry,
        before_update: tuple[BeforeUpdate, ...],
    ) -> None:
        assert assembly.contract.schedule.parallel is not None  # the manifest's rules demand it
        self._spec: ParallelSpec = assembly.contract.schedule.parallel
        self._assembly = assembly
        self._feed = feed
        self._links = links
        self._telemetry = telemetry
        self._before_update = before_update
        self._own = assembly.document.party

    def run(self, order: ParallelTurn) -> TurnDone:
        """Runs one epoch together with everybody.

        Raises:
            ProtocolViolation: if the server does not name this contract's clients and this client's rows.
        """
        self._check_rows(dict(order.train_rows))
        engine = self._assembly.engine
        rows, loss_sum, step = 0, 0.0, order.first_step
        inputs = Prefetched(self._iterate_inputs(order))
        for given in inputs:
            loss, step = None, given.step
            if given.rows:
                loss = engine.train(given, self._links, while_waiting=inputs.fetch, before_update=self._before_update)
            elif self._before_update:
                engine.follow(given, self._links, before_update=self._before_update)
            rows += given.rows
            loss_sum += 0.0 if loss is None else loss * given.rows
            self._telemetry.record_step(
                step=step, round_number=order.round, rows=given.rows, loss=loss, client=self._own
            )
        return TurnDone(step=step, rows=rows, loss_sum=render_number(loss_sum) if engine.computes_loss else "")

    def _iterate_inputs(self, order: ParallelTurn) -> Iterator[StepInput]:
        shares = iterate_shares(
            self._spec.batch,
            seed=self._assembly.contract.training.seed,
            epoch=order.epoch,
            batch_size=self._assembly.contract.training.batch_size,
            train_rows=dict(order.train_rows),
        )
        for step, share in enumerate(shares, start=order.first_step):
            loss_share = None
            if self._assembly.engine.computes_loss:
                loss_share = len(share[self._own]) / sum(map(len, share.values()))
            given = self._feed.take(share[self._own], step=step, epoch=order.epoch, loss_share=loss_share)
            if loss_share is not None:
                self._check_every_row_counts(given)
            yield given

    def _check_rows(self, train_rows: Mapping[str, int]) -> None:
        names = [party.name for party in self._assembly.contract.clients]
        if list(train_rows) != names or train_rows[self._own] != self._assembly.train_rows:
            raise ProtocolViolation(
                f"the server names the clients {list(train_rows)} with {train_rows.get(self._own)} rows here",
                allowed=f"{names}, with {self._assembly.train_rows} rows here",
                remedy="use the same version of splittraining at every party",
            )

    def _check_every_row_counts(self, given: StepInput) -> None:
        """Refuses rows that the loss leaves out: the clients' means add up to the step's by their rows."""
        label = given.label
        if self._assembly.contract.training.loss.name is not LossName.CROSS_ENTROPY or label is None:
            return
        if not label.dtype.is_floating_point and bool((label == DEFAULT_IGNORE_INDEX).any()):
            raise DataInvalid(
                f"a label of step {given.step} is {DEFAULT_IGNORE_INDEX}, which CrossEntropy leaves out of its mean",
                allowed="rows with a class, where each client of a parallel step computes the loss of its own rows",
                remedy="remove the rows without a class, or set schedule.mode: SplitFed",
            )
