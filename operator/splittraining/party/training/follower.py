"""A client's side of the training: it does what the conductor orders, and nothing it did not agree to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from splittraining.api.errors import ProtocolViolation
from splittraining.api.report import PartyState
from splittraining.api.spec.model import Initialization
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.client_secret import (
    MAX_SECRET_BLOB_BYTES,
    SECRET_BYTES,
    SECRET_SEQUENCE,
    ClientSecret,
    draw_client_secret,
)
from splittraining.party.training.consent import check_order
from splittraining.party.training.exchange import Exchange, find_averaging_party
from splittraining.party.training.feed import BatchFeed, Prefetched
from splittraining.party.training.metrics import render_number
from splittraining.party.training.peer_links import PeerLinks
from splittraining.party.training.relays import find_pairs, open_relayed_links
from splittraining.party.training.rounds.gradient_sum import GradientSum
from splittraining.party.training.rounds.parallel_client import ParallelPart
from splittraining.party.training.rounds.server_side import EVERYBODY
from splittraining.party.training.rounds.split_fed_client import average_weights
from splittraining.party.training.schedule import Span
from splittraining.party.training.sealed_mail import BlobKind, SealedMail
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.link import Link
from splittraining.party.wire.message import Message
from splittraining.party.wire.orders import (
    AverageWeights,
    Evaluate,
    Evaluated,
    Finish,
    Finished,
    HandOff,
    HandOffDone,
    Keep,
    ParallelTurn,
    PeerCard,
    Prepare,
    Prepared,
    Restore,
    SealedNotice,
    TakeOver,
    Turn,
    TurnDone,
    WeightsAveraged,
)


class Follower:
    """Follows one training from Prepare to Finish.

    Args:
        assembly: This party.
        link: To the server.
        mail: For blobs to and from other clients.
        telemetry: Told of every step.
        entropy: Source of random bytes for the clients' secret and the keys of relayed links.
        admit: Told of the channels to other clients, which the server relays.
        peers: Links to other clients, where hand-offs go past the server.
    """

    def __init__(
        self,
        assembly: Assembly,
        *,
        link: Link,
        mail: SealedMail,
        telemetry: Telemetry,
        entropy: Callable[[int], bytes],
        admit: Callable[[Channel], object],
        peers: PeerLinks | None = None,
    ) -> None:
        self._assembly = assembly
        self._document = assembly.document
        self._link = link
        self._links = {stage.owner: link for stage in assembly.share.wire_plan.stages}
        self._mail = mail
        self._telemetry = telemetry
        self._entropy = entropy
        self._admit = admit
        self._peers = peers
        self._train_feed: BatchFeed | None = None
        self._test_feed: BatchFeed | None = None
        self._last_step = 0
        task = assembly.contract.get_task(assembly.document.party)
        self._task = "" if task is None else task.name

    def run(self) -> None:
        """Follows orders until Finish.

        Raises:
            SplitTrainingError: whatever ended the training.
        """
        self._prepare()
        while True:
            self._telemetry.enter(PartyState.WAITING)
            order = self._link.recv_control()
            check_order(self._assembly.contract, self._document.party, order)
            match order:
                case Turn():
                    self._train(order)
                case Evaluate():
                    self._evaluate(order)
                case ParallelTurn():
                    self._train_in_parallel(order)
                case AverageWeights():
                    self._average(order)
                case Keep() | Restore():
                    self._select(order)
                case HandOff() | SealedNotice() | TakeOver():
                    self._move_segment(order)
                case Finish():
                    self._finish(order)
                    return
                case _:
                    raise _refuse(order, "an order to train, evaluate, keep, restore, average, hand off or finish")

    def _prepare(self) -> None:
        cards = []
        order = self._link.recv_control()
        while isinstance(order, PeerCard):
            cards.append(order.card)
            order = self._link.recv_control()
        if not isinstance(order, Prepare):
            raise _refuse(order, "PeerCard or Prepare")
        self._mail.admit(cards)
        if self._peers is not None:
            self._peers.connect()
        secret = self._agree_on_secret(order)
        if self._assembly.contract.model.initialization is Initialization.CLIENTS_ONLY:
            self._assembly.share.initialize(secret.initialization_seed)
        elif self._assembly.contract.model.initialization is Initialization.PRIVATE:
            self._assembly.share.initialize(ClientSecret(self._entropy(SECRET_BYTES)).initialization_seed)
        self._links |= open_relayed_links(
            self._link,
            self._mail,
            find_pairs(self._assembly.contract, self._assembly.share.wire_plan),
            own=self._document.party,
            contract=self._assembly.contract,
            entropy=self._entropy,
            admit=self._admit,
        )
        rows = (order.train_rows, order.test_rows) if self._assembly.is_joint else self._own_rows()
        self._train_feed, self._test_feed = (
            self._assembly.build_feed(split=split, num_rows=num_rows, row_ids_key=secret.row_ids_key)
            for split, num_rows in zip(("train", "test"), rows, strict=True)
        )
        self._link.send_control(
            Prepared(
                train_ids_digest=self._assembly.digest_ids("train", secret.row_ids_key),
                test_ids_digest=self._assembly.digest_ids("test", secret.row_ids_key),
            )
        )
        self._telemetry.enter(PartyState.READY, steps=order.steps)

    def _agree_on_secret(self, order: Prepare) -> ClientSecret:
        """Draws the secret and seals it to the others, or opens the one that the holder sealed to us."""
        own = self._document.party
        if order.secret_holder != own:
            data = self._mail.recv_due(
                self._link,
                kind=BlobKind.CLIENT_SECRET,
                sender=order.secret_holder,
                sequence=SECRET_SEQUENCE,
                max_bytes=MAX_SECRET_BLOB_BYTES,
            )
            return ClientSecret(data[:SECRET_BYTES])
        secret = draw_client_secret(self._entropy)
        for party in self._assembly.contract.clients:
            if party.name != own:
                self._mail.send(
                    self._link,
                    kind=BlobKind.CLIENT_SECRET,
                    recipient=party.name,
                    sequence=SECRET_SEQUENCE,
                    data=secret.secret,
                )
        for party in self._assembly.contract.parties:
            if party.holds_data and party not in self._assembly.contract.clients:
                self._mail.send(
                    self._link,
                    kind=BlobKind.ROW_IDS_KEY,
                    recipient=party.name,
                    sequence=SECRET_SEQUENCE,
                    data=secret.row_ids_key,
                )
        return secret

    def _train(self, order: Turn) -> None:
        self._telemetry.enter(PartyState.TRAINING, round_number=order.round, active_party=self._document.party)
        assert self._train_feed is not None  # set by _prepare
        spans = [Span(span.epoch, span.first_batch, span.num_batches) for span in order.spans]
        inputs = Prefetched(self._train_feed.iterate_training(spans, first_step=order.first_step))
        prepare = self._assembly.share.updates.prepare(order.round, server=self._link)
        rows, loss_sum = 0, 0.0
        for given in inputs:
            loss = self._assembly.engine.train(given, self._links, while_waiting=inputs.fetch, before_update=prepare)
            rows += given.rows
            loss_sum += 0.0 if loss is None else loss * given.rows
            self._last_step = given.step
            self._telemetry.record_step(
                step=given.step,
                round_number=order.round,
                rows=given.rows,
                loss=loss,
                client=self._document.party,
                task=self._task,
            )
        sums = render_number(loss_sum) if self._assembly.engine.computes_loss else ""
        self._link.send_control(TurnDone(step=self._last_step, rows=rows, loss_sum=sums))

    def _train_in_parallel(self, order: ParallelTurn) -> None:
        self._telemetry.enter(PartyState.TRAINING, round_number=order.round, active_party=EVERYBODY)
        assert self._train_feed is not None  # set by _prepare
        exchange = self._build_exchange()
        sum_up = [] if exchange is None else [GradientSum(exchange, self._assembly.share)]
        part = ParallelPart(
            self._assembly,
            feed=self._train_feed,
            links=self._links,
            telemetry=self._telemetry,
            before_update=(*sum_up, *self._assembly.share.updates.prepare(order.round, server=self._link)),
        )
        self._link.send_control(part.run(order))

    def _average(self, order: AverageWeights) -> None:
        exchange = self._build_exchange()
        assert exchange is not None  # the order was checked
        average_weights(self._assembly.share, exchange, order)
        self._link.send_control(WeightsAveraged(step=order.step))

    def _build_exchange(self) -> Exchange | None:
        """Returns the way to the averaging party, where the contract has one."""
        contract = self._assembly.contract
        averaging_party = find_averaging_party(contract)
        if averaging_party is None:
            return None
        return Exchange(
            self._mail,
            self._link,
            own=self._document.party,
            clients=[party.name for party in contract.clients],
            averaging_party=averaging_party,
        )

    def _evaluate(self, order: Evaluate) -> None:
        self._telemetry.enter(PartyState.EVALUATING, round_number=order.round)
        assert self._test_feed is not None  # set by _prepare
        metrics = self._assembly.build_metrics()
        rows = 0
        for given in self._test_feed.iterate_test(step=order.step):
            self._assembly.engine.evaluate(given, self._links, metrics)
            rows += given.rows
        sums = metrics.summary().as_texts() if self._assembly.engine.computes_loss else ()
        self._link.send_control(Evaluated(rows=rows, sums=sums))

    def _select(self, order: Keep | Restore) -> None:
        if isinstance(order, Keep):
            self._assembly.share.keep_weights(order.round)
        else:
            self._assembly.share.restore_weights(order.round)

    def _move_segment(self, order: HandOff | SealedNotice | TakeOver) -> None:
        """Hands the client segment on or takes it over, through the server or past it as the contract says."""
        match order:
            case HandOff():
                self._hand_off(order)
            case SealedNotice() if self._peers is None:
                self._take_over(order)
            case TakeOver() if self._peers is not None:
                self._take_over_directly(self._peers.get_incoming(order.sender), order)
            case _:
                raise _refuse(order, "a hand-off that takes the way that the contract says")

    def _hand_off(self, order: HandOff) -> None:
        data = self._assembly.share.export_state(step=order.step, weights_only=order.weights_only)
        link = self._link if self._peers is None else self._peers.get_outgoing(order.recipient)
        self._mail.send(link, kind=BlobKind.HAND_OFF, recipient=order.recipient, sequence=order.sequence, data=data)

    def _take_over_directly(self, link: Link, order: TakeOver) -> None:
        self._load(
            self._mail.recv_due(
                link,
                kind=BlobKind.HAND_OFF,
                sender=order.sender,
                sequence=order.sequence,
                max_bytes=self._assembly.share.count_state_bytes(),
            ),
            order.sequence,
        )

    def _take_over(self, notice: SealedNotice) -> None:
        max_bytes = self._assembly.share.count_state_bytes()
        self._load(self._mail.recv(self._link, notice, kind=BlobKind.HAND_OFF, max_bytes=max_bytes), notice.sequence)

    def _load(self, state: bytes, sequence: int) -> None:
        self._assembly.share.import_state(state)
        self._link.send_control(HandOffDone(sequence=sequence))

    def _finish(self, order: Finish) -> None:
        self._telemetry.enter(PartyState.FINISHING)
        digest = self._assembly.share.write_result(
            Path(self._document.output_path) / "result",
            party=self._document.party,
            contract_digest=self._document.contract_digest,
            generation=self._document.generation,
            step=order.step,
            round_number=order.round,
        )
        self._link.send_control(Finished(manifest_digest=digest))

    def _own_rows(self) -> tuple[int, int]:
        return self._assembly.train_rows, self._assembly.test_rows


def _refuse(message: Message, allowed: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"message {message.type} came from the server out of turn",
        allowed=allowed,
        remedy="use the same version of splittraining at every party",
    )
