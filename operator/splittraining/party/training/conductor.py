"""The server's side of the training: it says who trains when, runs the server's segment, and carries sealed hand-offs.

A round is what the schedule makes of it (rounds), then an evaluation where one is due. A step boundary between two
rounds is where all parties' states match: a matched checkpoint is taken there, before the next round is ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from splittraining.api.errors import ProtocolViolation
from splittraining.api.report import PartyState
from splittraining.api.spec.schedule import HandOff as HandOffMode
from splittraining.party.training.alignment import check_row_counts, check_row_ids, fill_row_counts
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.best_round import EvaluatedRound, RoundSelection
from splittraining.party.training.client_line import ClientLine
from splittraining.party.training.client_secret import MAX_SECRET_BLOB_BYTES, SECRET_SEQUENCE
from splittraining.party.training.metrics import EvaluationSums, combine_evaluations
from splittraining.party.training.relays import find_pairs
from splittraining.party.training.rounds.build import build_rounds
from splittraining.party.training.rounds.server_side import EVERYBODY, ServerSide
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.training.tasks import TaskTally
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.handshake import Hello
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import (
    Evaluate,
    Evaluated,
    Finish,
    Finished,
    Keep,
    PeerCard,
    Prepare,
    Prepared,
    Restore,
)


class Conductor:
    """Drives one training from Prepare to Finish.

    Args:
        assembly: The server party.
        links: To every client, by name.
        hellos: What every client said of itself.
        mail: For blobs to the server itself (the key of row-id digests, where it holds labels).
        telemetry: Told of every step and round.
        monotonic_s: A clock that never goes back.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        links: Mapping[str, Link],
        hellos: Mapping[str, Hello],
        mail: SealedMail,
        telemetry: Telemetry,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._assembly = assembly
        self._document = assembly.document
        sequential = assembly.contract.schedule.sequential
        handoff = HandOffMode.NONE if sequential is None else sequential.handoff
        self._clients = [party.name for party in assembly.contract.clients]
        self._links = links
        self._line = ClientLine(
            self._clients,
            links,
            hands_off=handoff is not HandOffMode.NONE,
            directly=handoff is HandOffMode.PEER_TO_PEER,
        )
        self._mail = mail
        self._telemetry = telemetry
        self._monotonic_s = monotonic_s
        self._side = ServerSide(
            assembly=assembly,
            line=self._line,
            mail=mail,
            telemetry=telemetry,
            train_rows={name: hellos[name].train_rows for name in self._clients},
            test_rows={name: hellos[name].test_rows for name in self._clients},
            tasks=TaskTally(assembly.contract),
        )
        self._tasks = self._side.tasks
        self._rounds = build_rounds(self._side)
        self._selection = RoundSelection(assembly.contract.training.evaluation)
        self._keepers: list[str] = []
        self._cards = {name: _require_card(name, hellos[name]) for name in self._clients}

    def run(self) -> None:
        """Runs the whole training.

        Raises:
            SplitTrainingError: whatever ended it.
        """
        self._prepare()
        every_rounds = self._assembly.contract.training.evaluation.every_rounds
        for round_number in range(1, self._document.rounds + 1):
            started_s = self._monotonic_s()
            sums = self._rounds.run(round_number)
            metrics, evaluated = {"train_loss": sums.loss_sum / sums.rows, **self._tasks.take_losses(sums.rows)}, {}
            learning_rate = self._assembly.share.updates.learning_rate
            metrics |= {} if learning_rate is None else {"learning_rate": learning_rate}
            if round_number % every_rounds == 0 or round_number == self._document.rounds:
                metrics |= self._evaluate(round_number)
                evaluated = self._count_evaluated_rows()
            seconds = self._monotonic_s() - started_s
            record = {"round": round_number, "step": self._side.step, "seconds": seconds, "evaluated": evaluated}
            self._telemetry.record_round(record, metrics)
            if self._is_over(EvaluatedRound(round_number, self._side.step), metrics, is_evaluated=bool(evaluated)):
                break
        self._finish(EvaluatedRound(round_number, self._side.step))

    # --- before the first step ----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._check_aligned_counts()
        num_steps = self._count_steps()
        secret_holder = self._clients[0]
        for name in self._clients:
            for card in self._cards_for(name):
                self._links[name].send_control(PeerCard(card=card))
            order = Prepare(
                secret_holder=secret_holder,
                train_rows=self._side.train_rows[name],
                test_rows=self._side.test_rows[name],
                steps=num_steps,
            )
            self._links[name].send_control(order)
        self._mail.admit(self._cards_for(self._document.party))
        for name in self._clients[1:]:
            self._line.relay(secret_holder, name, kind=BlobKind.CLIENT_SECRET)
        if self._assembly.holds_data:
            self._side.row_ids_key = self._mail.recv_due(
                self._links[secret_holder],
                kind=BlobKind.ROW_IDS_KEY,
                sender=secret_holder,
                sequence=SECRET_SEQUENCE,
                max_bytes=MAX_SECRET_BLOB_BYTES,
            )
        for first, second in find_pairs(self._assembly.contract, self._assembly.share.wire_plan):
            self._line.relay(first, second, kind=BlobKind.LINK_KEY)
        self._check_aligned_ids({name: self._line.recv(name, Prepared) for name in self._clients})
        self._telemetry.enter(PartyState.READY, steps=num_steps)

    def _count_steps(self) -> int:
        return self._rounds.count_steps()

    def _check_aligned_counts(self) -> None:
        if not self._assembly.is_joint:
            return
        for split, rows, own in (
            ("training", self._side.train_rows, self._assembly.train_rows),
            ("test", self._side.test_rows, self._assembly.test_rows),
        ):
            held = {name: rows[name] for name in self._list_data_holders()}
            check_row_counts(split, held | ({self._document.party: own} if self._assembly.holds_data else {}))
            fill_row_counts(rows, held)

    def _check_aligned_ids(self, prepared: Mapping[str, Prepared]) -> None:
        if not self._assembly.is_joint:
            return
        own = {split: self._assembly.digest_ids(split, self._side.row_ids_key) for split in ("train", "test")}
        for split, name in (("train", "training"), ("test", "test")):
            digests = {name: getattr(prepared[name], f"{split}_ids_digest") for name in self._list_data_holders()}
            check_row_ids(name, digests | ({self._document.party: own[split]} if own[split] else {}))

    def _list_data_holders(self) -> list[str]:
        return [party.name for party in self._assembly.contract.clients if party.holds_data]

    def _cards_for(self, party: str) -> list[dict[str, str]]:
        cards = dict(self._cards)
        cards[self._document.party] = self._mail.build_card()
        return [card for name, card in cards.items() if name != party]

    # --- evaluation and the end ---------------------------------------------------------------------------------------

    def _evaluate(self, round_number: int) -> dict[str, float]:
        """Runs the test rows of every client that has some; empty where nobody has."""
        sums: list[EvaluationSums] = []
        pooled = self._assembly.build_metrics()
        for group in self._rounds.list_evaluations():
            if not self._side.test_rows[group[0]]:
                continue
            for name in group:
                self._rounds.prepare_evaluation(name)
            self._telemetry.enter(PartyState.EVALUATING, active_party=self._side.name_active(group))
            for name in group:
                self._links[name].send_control(Evaluate(round=round_number, step=self._side.step))
            links = self._side.list_links(group)
            for given in self._side.build_feed("test", group[0]).iterate_test(step=self._side.step):
                self._assembly.engine.evaluate(given, links, pooled)
            answers = [self._line.recv(name, Evaluated) for name in group]
            found = {
                name: EvaluationSums.from_texts(answer.sums)
                for name, answer in zip(group, answers, strict=True)
                if answer.sums
            }
            if self._tasks.has_tasks:  # all clients are one group
                return self._tasks.combine(found)
            sums += found.values()
        if self._assembly.engine.computes_loss:
            sums = [pooled.summary()]
        return combine_evaluations(sums)

    def _count_evaluated_rows(self) -> dict[str, int]:
        """Returns the test rows by client, or of all together in a joint step."""
        if self._assembly.is_joint:
            return {EVERYBODY: self._side.test_rows[self._clients[0]]}
        return {name: rows for name, rows in self._side.test_rows.items() if rows}

    def _is_over(self, done: EvaluatedRound, metrics: Mapping[str, float], *, is_evaluated: bool) -> bool:
        """Compares an evaluated round with the best one, has it kept if it is better, and says whether to end here."""
        if not is_evaluated:
            return False
        if self._selection.observe(done, metrics) and self._selection.keeps_best:
            self._keepers = self._line.choose_keepers()
            self._assembly.share.keep_weights(done.round)
            for name in self._keepers:
                self._links[name].send_control(Keep(round=done.round))
        if not self._selection.is_over(done.round) or done.round == self._document.rounds:
            return False
        self._telemetry.record_early_stop(round_number=done.round, step=done.step)
        return True

    def _go_back_to_best(self, last: EvaluatedRound) -> EvaluatedRound:
        """Restores the best round where that is the result; returns the round whose weights now are everybody's."""
        best = self._selection.best
        if not self._selection.keeps_best or best is None:
            return last
        self._telemetry.record_kept_round(best.round)
        if best != last:
            self._assembly.share.restore_weights(best.round)
            for name in self._keepers:
                self._links[name].send_control(Restore(round=best.round))
            self._line.restart_from(self._keepers)
        return best

    def _finish(self, last: EvaluatedRound) -> None:
        """Gives every institution the same final weights, and lets all write them."""
        self._telemetry.enter(PartyState.FINISHING, active_party="")
        kept = self._go_back_to_best(last)
        self._rounds.prepare_finish()
        for name in self._clients:
            self._links[name].send_control(Finish(step=kept.step, round=kept.round))
        self._assembly.share.write_result(
            Path(self._document.output_path) / "result",
            party=self._document.party,
            contract_digest=self._document.contract_digest,
            generation=self._document.generation,
            step=kept.step,
            round_number=kept.round,
        )
        for name in self._clients:
            self._line.recv(name, Finished)


def _require_card(client: str, hello: Hello) -> dict[str, str]:
    if hello.sealing_key is None:
        raise ProtocolViolation(
            f"{client}'s Hello has no sealing key",
            allowed="a key that the other clients can seal to",
            remedy="use the same version of splittraining at every party",
        )
    return hello.sealing_key
