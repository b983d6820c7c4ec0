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
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.training.alignment import check_row_counts, check_row_ids
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.client_line import ClientLine
from splittraining.party.training.metrics import EvaluationSums, combine_evaluations
from splittraining.party.training.rounds.build import build_rounds
from splittraining.party.training.rounds.server_side import EVERYBODY, ServerSide
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.handshake import Hello
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import (
    Evaluate,
    Evaluated,
    Finish,
    Finished,
    PeerCard,
    Prepare,
    Prepared,
    SealedNotice,
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
        hands_off = sequential is not None and sequential.handoff is HandOffMode.VIA_SERVER
        self._clients = [party.name for party in assembly.contract.clients]
        self._links = links
        self._line = ClientLine(self._clients, links, hands_off=hands_off)
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
        )
        self._rounds = build_rounds(self._side)
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
            metrics, evaluated = {"train_loss": sums.loss_sum / sums.rows}, {}
            if round_number % every_rounds == 0 or round_number == self._document.rounds:
                metrics |= self._evaluate(round_number)
                evaluated = self._count_evaluated_rows()
            seconds = self._monotonic_s() - started_s
            record = {"round": round_number, "step": self._side.step, "seconds": seconds, "evaluated": evaluated}
            self._telemetry.record_round(record, metrics)
        self._finish()

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
            notice = self._line.recv(secret_holder, SealedNotice)
            link = self._links[secret_holder]
            self._side.row_ids_key = self._mail.recv(link, notice, kind=BlobKind.ROW_IDS_KEY, max_bytes=1024)
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
            check_row_counts(split, rows | ({self._document.party: own} if self._assembly.holds_data else {}))

    def _check_aligned_ids(self, prepared: Mapping[str, Prepared]) -> None:
        if not self._assembly.is_joint:
            return
        own = {split: self._assembly.digest_ids(split, self._side.row_ids_key) for split in ("train", "test")}
        for split, name in (("train", "training"), ("test", "test")):
            digests = {client: getattr(answer, f"{split}_ids_digest") for client, answer in prepared.items()}
            check_row_ids(name, digests | ({self._document.party: own[split]} if own[split] else {}))

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
            self._telemetry.enter(PartyState.EVALUATING, active_party=group[0] if len(group) == 1 else EVERYBODY)
            for name in group:
                self._links[name].send_control(Evaluate(round=round_number, step=self._side.step))
            links = self._links if self._assembly.is_joint else {CLIENT_OWNER: self._links[group[0]]}
            for given in self._side.build_feed("test", group[0]).iterate_test(step=self._side.step):
                self._assembly.engine.evaluate(given, links, pooled)
            answers = [self._line.recv(name, Evaluated) for name in group]
            sums += [EvaluationSums.from_texts(answer.sums) for answer in answers if answer.sums]
        if self._assembly.engine.computes_loss:
            sums = [pooled.summary()]
        return combine_evaluations(sums)

    def _count_evaluated_rows(self) -> dict[str, int]:
        """Returns the test rows by client, or of all together in a joint step."""
        if self._assembly.is_joint:
            return {EVERYBODY: self._side.test_rows[self._clients[0]]}
        return {name: rows for name, rows in self._side.test_rows.items() if rows}

    def _finish(self) -> None:
        """Gives every institution its final weights, and lets all write them."""
        self._telemetry.enter(PartyState.FINISHING, active_party="")
        self._rounds.prepare_finish()
        for name in self._clients:
            self._links[name].send_control(Finish(step=self._side.step))
        self._assembly.share.write_result(
            Path(self._document.output_path) / "result",
            party=self._document.party,
            contract_digest=self._document.contract_digest,
            generation=self._document.generation,
            step=self._side.step,
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
