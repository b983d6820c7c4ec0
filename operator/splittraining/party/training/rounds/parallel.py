"""Parallel at the server: one top, whose batch is all clients' rows of the step, one client's below the other's."""

from __future__ import annotations

from collections.abc import Sequence

from splittraining.api.report import PartyState
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.training.averaging import combine_gradients
from splittraining.party.training.engine import Links, StepInput
from splittraining.party.training.exchange import find_averaging_party, serve
from splittraining.party.training.rounds.gathered_link import GatheredLink, check_rows_can_be_gathered
from splittraining.party.training.rounds.gradient_sum import plan_errand
from splittraining.party.training.rounds.interface import RoundSums
from splittraining.party.training.rounds.server_side import EVERYBODY, ServerSide
from splittraining.party.training.rounds.shares import count_parallel_steps, iterate_shares
from splittraining.party.wire.orders import ParallelTurn


class ParallelRounds:
    """Rounds of one pass over all clients' rows.

    Args:
        side: The server.

    Raises:
        ModelInvalid: if a value crosses that has no rows.
    """

    def __init__(self, side: ServerSide) -> None:
        contract = side.assembly.contract
        assert contract.schedule.parallel is not None  # the manifest's rules demand it
        check_rows_can_be_gathered(side.assembly.share.wire_plan)
        self._side = side
        self._batch = contract.schedule.parallel.batch
        self._averaging_party = find_averaging_party(contract)

    def count_steps(self) -> int:
        """Returns the global steps of the whole training."""
        return self._side.assembly.document.rounds * self._count_round_steps()

    def run(self, round_number: int) -> RoundSums:
        """Runs one epoch with everybody."""
        side = self._side
        side.telemetry.enter(PartyState.TRAINING, round_number=round_number, active_party=EVERYBODY)
        epoch = round_number - 1
        first_step = 1 + epoch * self._count_round_steps()
        order = ParallelTurn(
            round=round_number, epoch=epoch, first_step=first_step, train_rows=tuple(side.train_rows.items())
        )
        for name in side.clients:
            side.links[name].send_control(order)
        shares = iterate_shares(
            self._batch,
            seed=side.assembly.contract.training.seed,
            epoch=epoch,
            batch_size=side.batch_size,
            train_rows=side.train_rows,
        )
        peers = {CLIENT_OWNER: list(side.links.values())}
        # Before the server's own update, since the clients' norms, where they are asked for, are those of the sum.
        prepare = (self._sum_gradients, *side.assembly.share.updates.prepare(round_number, peers=peers))
        sums = RoundSums()
        for step, share in enumerate(shares, start=first_step):
            rows = {name: len(indices) for name, indices in share.items()}
            given = StepInput(step, sum(rows.values()))
            links = {CLIENT_OWNER: GatheredLink(side.links, rows)}
            loss = side.assembly.engine.train(given, links, before_update=prepare)
            sums += RoundSums(given.rows, 0.0 if loss is None else loss * given.rows)
            side.step = step
            side.telemetry.record_step(
                step=step, round_number=round_number, rows=given.rows, loss=loss, client=EVERYBODY
            )
        return sums + RoundSums(loss_sum=side.recv_turn_losses(side.clients))

    def list_evaluations(self) -> Sequence[Sequence[str]]:
        """Returns the clients in listed order, one by one."""
        return [[name] for name in self._side.clients]

    def prepare_evaluation(self, client: str) -> None:
        """Does nothing: every client evaluates with the weights it has."""

    def prepare_finish(self) -> None:
        """Does nothing, likewise."""

    def _count_round_steps(self) -> int:
        return count_parallel_steps(self._batch, batch_size=self._side.batch_size, train_rows=self._side.train_rows)

    def _sum_gradients(self, given: StepInput, links: Links) -> None:
        """Brings the clients' gradients together where the contract says so; the sum goes back to all."""
        del links  # what is summed takes its own way
        side, step = self._side, given.step
        if self._averaging_party is None:
            return
        side.assembly.progress.mark(step, "summing gradients")
        outline = side.assembly.share.outside
        errand = plan_errand(step, max_bytes=outline.count_state_bytes())
        serve(side.line, side.mail, self._averaging_party, errand, lambda parts: combine_gradients(parts, outline))
