"""What every schedule knows of the server: its share of the model, the clients, and how far the training is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.client_line import ClientLine
from splittraining.party.training.feed import BatchFeed
from splittraining.party.training.metrics import parse_number
from splittraining.party.training.schedule import PlannedTurn, count_steps, plan_turns
from splittraining.party.training.sealed_mail import SealedMail
from splittraining.party.training.tasks import TaskTally
from splittraining.party.training.telemetry import Telemetry
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import TurnDone

EVERYBODY = "all"
"""Who is active where several clients train at once, where reports and metrics name one client otherwise."""


@dataclass
class ServerSide:
    """The server party in the middle of a training."""

    assembly: Assembly
    line: ClientLine
    mail: SealedMail
    telemetry: Telemetry
    train_rows: dict[str, int]
    test_rows: dict[str, int]
    tasks: TaskTally
    row_ids_key: bytes = b""
    """Where the server holds labels: the key of the row-id digests, known once the clients have agreed."""
    step: int = 0
    """Number of the last step that is over."""

    @property
    def clients(self) -> Sequence[str]:
        """All clients in listed order."""
        return self.line.names

    @property
    def links(self) -> Mapping[str, Link]:
        """To every client, by name, in listed order."""
        return self.line.links

    @property
    def batch_size(self) -> int:
        """Rows of a full batch."""
        return self.assembly.contract.training.batch_size

    def plan_turns(self) -> Iterator[PlannedTurn]:
        """Yields every turn of the training, where it goes by turns."""
        return plan_turns(
            self.assembly.contract.schedule,
            rounds=self.assembly.document.rounds,
            batch_size=self.batch_size,
            train_rows=self.train_rows,
            clients=self.clients,
        )

    def count_planned_steps(self) -> int:
        """Returns the steps of all those turns."""
        return count_steps(
            self.assembly.contract.schedule,
            rounds=self.assembly.document.rounds,
            batch_size=self.batch_size,
            train_rows=self.train_rows,
            clients=self.clients,
        )

    def name_active(self, clients: Sequence[str]) -> str:
        """Returns how reports and metrics name those who take part in a step."""
        return clients[0] if len(clients) == 1 else EVERYBODY

    def list_links(self, clients: Sequence[str]) -> dict[str, Link]:
        """Returns the links of a step by owner name: of all parties in a joint step, else of its one client."""
        return dict(self.links) if self.assembly.is_joint else {CLIENT_OWNER: self.links[clients[0]]}

    def build_feed(self, split: str, client: str) -> BatchFeed:
        """Builds the server's own feed for steps with a client, or with all where they share one order of rows."""
        rows = self.train_rows if split == "train" else self.test_rows
        return self.assembly.build_feed(split=split, num_rows=rows[client], row_ids_key=self.row_ids_key)

    def recv_turn_losses(self, clients: Sequence[str]) -> float:
        """Waits until each of the clients is done; returns their row-weighted losses, where clients compute them."""
        loss_sum = 0.0
        for name in clients:
            done = self.line.recv(name, TurnDone)
            told = parse_number(done.loss_sum, name="loss_sum") if done.loss_sum else 0.0
            self.tasks.add_loss(name, told)
            loss_sum += told
        return loss_sum
