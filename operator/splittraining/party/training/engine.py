"""One step of one party: its stages in forward order, the loss where it lives, its stages backward, its optimizer.

The same program runs at every party of every topology: it walks the wire plan's stages, runs those it owns, and sends
or receives what crosses. What must be the same to the bit as the unsplit model is in StageRunner; what is here is the
order of work. Gradients leave before the optimizer step, so that the peer computes while this party updates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from splittraining.api.errors import DataInvalid
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.wire_plan import Transfer, ValueSource, WirePlan
from splittraining.party.model.crossings import OUTPUT
from splittraining.party.training.loss import check_finite_loss
from splittraining.party.training.metrics import MetricSet
from splittraining.party.training.stage import StageRunner
from splittraining.party.wire.frame import NO_DIGEST
from splittraining.party.wire.layout import move_as_it_lies
from splittraining.party.wire.link import Link, TensorLink
from splittraining.party.wire.progress import Progress
from splittraining.party.wire.relayed import relay_tensor

LABEL = "label"
"""Name of the label's value in every wire plan."""


@dataclass(frozen=True, slots=True)
class StepInput:
    """What one party brings to one step. A party without data has neither arguments nor label."""

    step: int
    rows: int
    arguments: Mapping[str, torch.Tensor] = field(default_factory=dict)
    label: torch.Tensor | None = None
    batch_digest: bytes | None = None
    """Keyed digest of the batch's row ids where this party knows them."""
    loss_share: float | None = None
    """This party's rows over all rows of the step, where several parties' losses make up the step's."""


Links = Mapping[str, TensorLink]
"""The link to use for each owner name of the wire plan."""

BeforeUpdate = Callable[[StepInput, Links], None]
"""What is done with the gradients of a step between its backward pass and the optimizer's update."""


class StepEngine:
    """Runs steps for one owner.

    Args:
        owner: This party's owner name in the wire plan.
        wire_plan: The plan all parties agreed on.
        runners: The stages this owner runs, by index.
        optimizer: Over all parameters of those stages, or None where there are none.
        loss: The loss, used on the loss stage's owner only.
        device: Where tensors are computed.
        party: Name for messages.
        progress: Told of every phase, read by the heartbeats.
    """

    def __init__(
        self,
        *,
        owner: str,
        wire_plan: WirePlan,
        runners: Mapping[int, StageRunner],
        optimizer: torch.optim.Optimizer | None,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None,
        device: torch.device,
        party: str,
        progress: Progress,
    ) -> None:
        self._owner = owner
        self._plan = wire_plan
        self._runners = runners
        self._optimizer = optimizer
        self._loss = loss
        self._device = device
        self._party = party
        self._progress = progress
        forward_into = {stage.index: tuple(wire_plan.iterate_forward(stage.index)) for stage in wire_plan.stages}
        self._labels = tuple(transfer for into in forward_into.values() for transfer in into if _is_label(transfer))
        self._forward_into = {
            index: tuple(transfer for transfer in into if not _is_label(transfer))
            for index, into in forward_into.items()
        }
        self._backward_from = {
            stage.index: tuple(wire_plan.iterate_backward(stage.index)) for stage in wire_plan.stages
        }
        self._read_by = {
            stage.index: tuple(
                value.name
                for value in wire_plan.values
                if stage.index in value.consumers and value.source is not ValueSource.LABEL
            )
            for stage in wire_plan.stages
        }

    @property
    def computes_loss(self) -> bool:
        """Whether this owner runs a stage that computes a loss; it runs no more than one."""
        return any(self._plan.computes_loss(stage) for stage in self._runners)

    def train(
        self,
        given: StepInput,
        links: Links,
        *,
        while_waiting: Callable[[], None] = lambda: None,
        before_update: Sequence[BeforeUpdate] = (),
    ) -> float | None:
        """Runs one training step.

        Args:
            given: This party's batch.
            links: The link for each owner this party exchanges values with.
            while_waiting: Called once between the forward and the backward pass, for example to fetch the next batch.
            before_update: Called in this order once all gradients are there, before the optimizer uses them.

        Returns:
            The loss where this party computes it, else None.

        Raises:
            NumericsInvalid: if the loss is not finite.
            DataInvalid: if two parties bring different rows to one step.
            ProtocolViolation: if a peer sends anything but what the plan says.
        """
        if self._optimizer is not None:
            self._optimizer.zero_grad(set_to_none=True)
        output, held, digest = self._forward(given, links, training=True)
        while_waiting()
        loss = self._compute_loss(output, held, given) if self.computes_loss else None
        shared = loss if loss is None or given.loss_share is None else loss * given.loss_share
        self._backward(given, links, shared, digest)
        self._update(given, links, before_update)
        return None if loss is None else float(loss.detach())

    def follow(self, given: StepInput, links: Links, *, before_update: Sequence[BeforeUpdate]) -> None:
        """Takes part in a step without rows: whatever `before_update` puts into the gradients is all there is."""
        if self._optimizer is not None:
            self._optimizer.zero_grad(set_to_none=True)
        self._update(given, links, before_update)

    def _update(self, given: StepInput, links: Links, before_update: Sequence[BeforeUpdate]) -> None:
        for prepare in before_update:
            prepare(given, links)
        self._progress.mark(given.step, "optimizer")
        if self._optimizer is not None:
            self._optimizer.step()
        self._progress.mark(given.step, "done")

    @torch.no_grad()
    def evaluate(self, given: StepInput, links: Links, metrics: MetricSet | None) -> None:
        """Runs one batch forward in evaluation mode and counts it where this party computes the loss."""
        output, held, _ = self._forward(given, links, training=False)
        if self.computes_loss and metrics is not None:
            assert output is not None
            label = self._label_of(held, given)
            metrics.update(output, label, self._require_loss()(output, label), given.rows)
        self._progress.mark(given.step, "evaluated")

    @torch.no_grad()
    def predict(self, given: StepInput, links: Links) -> dict[str, torch.Tensor]:
        """Runs one batch forward in evaluation mode; returns the model's output where the labels would be, else none.

        Nobody brings labels, and none are sent: in the wire plan of a prediction the output ends at their holder.
        """
        output, _, _ = self._forward(given, links, training=False)
        self._progress.mark(given.step, "predicted")
        return {} if output is None else {OUTPUT: output.detach().cpu()}

    def _forward(
        self, given: StepInput, links: Links, *, training: bool
    ) -> tuple[torch.Tensor | None, dict[str, torch.Tensor], bytes]:
        """Walks the stages in forward order; returns the output, all values held here and the batch's digest."""
        held: dict[str, torch.Tensor] = {}
        digest = _KnownDigest(given.batch_digest, self._party, given.step)
        if given.label is not None:
            held[LABEL] = given.label.to(self._device)
        arguments = {name: tensor.to(self._device) for name, tensor in given.arguments.items()}
        # Labels are there before anything is computed. They go first, so that nobody waits for them after the values.
        self._send(self._labels, held, links, given, training=training, digest=digest.current)
        self._receive(self._labels, held, links, given, training=training, digest=digest)
        output: torch.Tensor | None = None
        for stage in self._plan.stages:
            transfers = self._forward_into[stage.index]
            runner = self._runners.get(stage.index)
            if runner is None:
                self._send(transfers, held, links, given, training=training, digest=digest.current)
                continue
            self._receive(transfers, held, links, given, training=training, digest=digest)
            self._progress.mark(given.step, "forward")
            incoming = {name: held[name] for name in self._read_by[stage.index]}
            held.update(runner.forward(arguments, incoming, training=training, step=given.step))
            output = runner.output if self._plan.computes_loss(stage.index) else output
        return output, held, digest.current

    def _backward(self, given: StepInput, links: Links, loss: torch.Tensor | None, digest: bytes) -> None:
        """Walks the stages in reverse; gradients go to the stage before that holds the value, or to its producer."""
        returned: dict[tuple[str, int], torch.Tensor | None] = {}
        for stage in reversed(self._plan.stages):
            runner = self._runners.get(stage.index)
            if runner is None:
                self._receive_gradients(stage.index, returned, given, links, digest)
                continue
            self._progress.mark(given.step, "backward")
            arriving = {name: tensor for (name, target), tensor in returned.items() if target == stage.index}
            gradients = runner.backward(arriving, loss if self._plan.computes_loss(stage.index) else None)
            crossing = {transfer.value.name for transfer in self._backward_from[stage.index]}
            self._send(self._backward_from[stage.index], gradients, links, given, training=True, digest=digest)
            for value in self._plan.values:
                if value.differentiable and stage.index in value.consumers and value.name not in crossing:
                    target = self._plan.find_gradient_target(value, stage.index)
                    _add_gradient(returned, (value.name, target), gradients[value.name])

    def _receive_gradients(
        self,
        stage: int,
        returned: dict[tuple[str, int], torch.Tensor | None],
        given: StepInput,
        links: Links,
        digest: bytes,
    ) -> None:
        for transfer in self._backward_from[stage]:
            if transfer.receiver != self._owner:
                self._relay(transfer, links, given, training=True)
                continue
            self._progress.mark(given.step, "waiting for gradients")
            received = links[transfer.sender].recv_tensor(
                transfer, step=given.step, rows=given.rows, training=True, batch_digest=digest
            )
            tensor = received.tensor
            gradient = None if tensor is None else move_as_it_lies(tensor, self._device)
            _add_gradient(returned, (transfer.value.name, transfer.to_stage), gradient)

    def _send(
        self,
        transfers: Sequence[Transfer],
        tensors: Mapping[str, torch.Tensor | None],
        links: Links,
        given: StepInput,
        *,
        training: bool,
        digest: bytes,
    ) -> None:
        for transfer in transfers:
            if transfer.sender == self._owner:
                links[transfer.receiver].send_tensor(
                    transfer,
                    tensors[transfer.value.name],
                    step=given.step,
                    rows=given.rows,
                    training=training,
                    batch_digest=digest,
                )
            elif transfer.receiver != self._owner:
                self._relay(transfer, links, given, training=training)

    def _relay(self, transfer: Transfer, links: Links, given: StepInput, *, training: bool) -> None:
        """Carries what goes from one client to another, in its turn of the graph, where this party is the server."""
        if self._owner == SERVER_PARTY:
            self._progress.mark(given.step, "relaying")
            source, target = links[transfer.sender], links[transfer.receiver]
            assert isinstance(source, Link)  # only a Joint schedule relays, and its links are each one client's
            assert isinstance(target, Link)
            relay_tensor(source, target, transfer, step=given.step, rows=given.rows, training=training)

    def _receive(
        self,
        transfers: Sequence[Transfer],
        held: dict[str, torch.Tensor],
        links: Links,
        given: StepInput,
        *,
        training: bool,
        digest: _KnownDigest,
    ) -> None:
        for transfer in transfers:
            if transfer.receiver != self._owner:
                continue
            self._progress.mark(given.step, "waiting for values")
            received = links[transfer.sender].recv_tensor(
                transfer, step=given.step, rows=given.rows, training=training, batch_digest=None
            )
            digest.check(received.batch_digest, transfer.sender)
            assert received.tensor is not None  # only gradients can be none; the link refuses others
            held[transfer.value.name] = move_as_it_lies(received.tensor, self._device)

    def _compute_loss(
        self, output: torch.Tensor | None, held: Mapping[str, torch.Tensor], given: StepInput
    ) -> torch.Tensor:
        assert output is not None  # the loss stage always leaves an output
        loss = self._require_loss()(output, self._label_of(held, given))
        check_finite_loss(float(loss.detach()), step=given.step, party=self._party)
        return loss

    def _label_of(self, held: Mapping[str, torch.Tensor], given: StepInput) -> torch.Tensor:
        if LABEL not in held:
            raise DataInvalid(
                f"party {self._party} computes the loss at step {given.step} but has no labels",
                remedy="name data.label at the party that holds the labels",
            )
        return held[LABEL]

    def _require_loss(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        assert self._loss is not None  # given to every owner of the loss stage
        return self._loss


def _add_gradient(
    returned: dict[tuple[str, int], torch.Tensor | None], key: tuple[str, int], gradient: torch.Tensor | None
) -> None:
    """Adds a gradient to what came before it: of several heads the latest first, which is autograd's own order."""
    earlier = returned.get(key)
    returned[key] = gradient if earlier is None else earlier if gradient is None else earlier + gradient


def _is_label(transfer: Transfer) -> bool:
    return transfer.value.source is ValueSource.LABEL


class _KnownDigest:
    """The digest of the step's rows: this party's own, else the first one a peer sends; all others must be equal."""

    def __init__(self, own: bytes | None, party: str, step: int) -> None:
        self._digest = own
        self._source = party
        self._step = step

    @property
    def current(self) -> bytes:
        return NO_DIGEST if self._digest is None else self._digest

    def check(self, digest: bytes, sender: str) -> None:
        if self._digest is None:
            self._digest, self._source = digest, sender
        elif digest != self._digest:
            raise DataInvalid(
                f"step {self._step}: {sender} sent a batch of other rows, or in another order, than {self._source} has",
                allowed="every party brings the same rows, ordered by the same ids, to one step",
                remedy="compare idColumn and the files' row ids at the two parties",
            )
