"""SplitFed at the server: local epochs of every client, then averages by rows.

With serverPolicy PerClient the clients train at the same time, each with a server segment of its own; with Shared one
after another, in a random order, with one. Steps are numbered client by client: with PerClient a client's steps of a
round are consecutive numbers, while they run interleaved with the other clients'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from splittraining.api.report import PartyState
from splittraining.api.spec.schedule import ServerPolicy
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.data.order import compute_client_order
from splittraining.party.training.averaging import combine_weights
from splittraining.party.training.engine import StepInput
from splittraining.party.training.exchange import find_averaging_party, serve
from splittraining.party.training.rounds.interface import RoundSums
from splittraining.party.training.rounds.replicas import Replicas
from splittraining.party.training.rounds.server_side import EVERYBODY, ServerSide
from splittraining.party.training.rounds.split_fed_client import plan_errand
from splittraining.party.training.rounds.turns import build_order, run_turn
from splittraining.party.training.schedule import PlannedTurn, Span, count_batches
from splittraining.party.wire.orders import AverageWeights, WeightsAveraged


class SplitFedRounds:
    """Rounds of local epochs and one average.

    Args:
        side: The server.
    """

    def __init__(self, side: ServerSide) -> None:
        contract = side.assembly.contract
        assert contract.schedule.split_fed is not None  # the manifest's rules demand it
        self._side = side
        self._spec = contract.schedule.split_fed
        self._averaging_party = find_averaging_party(contract)
        self._replicas: Replicas | None = None

    def count_steps(self) -> int:
        """Returns the global steps of the whole training."""
        return self._side.assembly.document.rounds * sum(map(self._count_client_steps, self._side.clients))

    def run(self, round_number: int) -> RoundSums:
        """Runs every client's local epochs, then averages."""
        turns = list(self._plan_turns(round_number))
        if self._spec.server_policy is ServerPolicy.PER_CLIENT:
            sums = self._run_at_once(round_number, turns)
        else:
            sums = RoundSums()
            for turn in turns:
                (client,) = turn.clients
                sums += run_turn(self._side, turn, {CLIENT_OWNER: self._side.links[client]})
        self._average_clients()
        return sums

    def list_evaluations(self) -> Sequence[Sequence[str]]:
        """Returns the clients in listed order, one by one."""
        return [[name] for name in self._side.clients]

    def prepare_evaluation(self, client: str) -> None:
        """Does nothing: the average is there already, and private segments stay where they are."""

    def prepare_finish(self) -> None:
        """Does nothing, likewise."""

    def _count_client_steps(self, client: str) -> int:
        return self._spec.every_rounds * count_batches(self._side.train_rows[client], self._side.batch_size)

    def _plan_turns(self, round_number: int) -> Iterator[PlannedTurn]:
        clients = list(self._side.clients)
        if self._spec.server_policy is ServerPolicy.SHARED:
            seed = self._side.assembly.contract.training.seed
            clients = [clients[index] for index in compute_client_order(seed, round_number, len(clients))]
        step = self._side.step + 1
        first_epoch = (round_number - 1) * self._spec.every_rounds
        for name in clients:
            num_batches = count_batches(self._side.train_rows[name], self._side.batch_size)
            spans = tuple(Span(first_epoch + index, 0, num_batches) for index in range(self._spec.every_rounds))
            turn = PlannedTurn(round_number, (name,), step, spans)
            yield turn
            step += turn.num_steps

    def _run_at_once(self, round_number: int, turns: Sequence[PlannedTurn]) -> RoundSums:
        """Serves step after step of each client in listed order, while the others compute."""
        side = self._side
        if self._replicas is None:
            self._replicas = Replicas(side.assembly.share, side.clients)
        side.telemetry.enter(PartyState.TRAINING, round_number=round_number, active_party=EVERYBODY)
        waiting: dict[str, Iterator[StepInput]] = {}
        for turn in turns:
            (name,) = turn.clients
            side.links[name].send_control(build_order(turn))
            waiting[name] = side.build_feed("train", name).iterate_training(turn.spans, first_step=turn.first_step)
        sums, done = RoundSums(), side.step
        while waiting:
            for name in list(waiting):
                given = next(waiting[name], None)
                if given is None:
                    del waiting[name]
                    continue
                self._replicas.load(name)
                link = side.links[name]
                prepare = side.assembly.share.updates.prepare(round_number, peers={CLIENT_OWNER: [link]})
                loss = side.assembly.engine.train(given, {CLIENT_OWNER: link}, before_update=prepare)
                done += 1
                sums += RoundSums(given.rows, 0.0 if loss is None else loss * given.rows)
                side.telemetry.record_step(
                    step=given.step, round_number=round_number, rows=given.rows, loss=loss, client=name, num_done=done
                )
        sums += RoundSums(loss_sum=side.recv_turn_losses(side.clients))
        side.step = done
        self._replicas.average(side.train_rows)
        return sums

    def _average_clients(self) -> None:
        """Brings the client segments together where the contract says so; the average goes back to all."""
        side = self._side
        if self._averaging_party is None:
            return
        side.assembly.progress.mark(side.step, "averaging")
        order = AverageWeights(step=side.step, train_rows=tuple(side.train_rows.items()))
        for name in side.clients:
            side.links[name].send_control(order)
        outline, rows = side.assembly.share.outside, list(side.train_rows.values())
        errand = plan_errand(side.step, max_bytes=outline.count_state_bytes())
        serve(side.line, side.mail, self._averaging_party, errand, lambda parts: combine_weights(parts, outline, rows))
        for name in side.clients:
            side.line.recv(name, WeightsAveraged)
