"""SplitFed at a client, beside its ordinary turns: its weights go into the average, the average takes their place."""

from __future__ import annotations

from splittraining.party.training.averaging import combine_weights
from splittraining.party.training.exchange import Errand, Exchange
from splittraining.party.training.sealed_mail import BlobKind
from splittraining.party.training.share import ModelShare
from splittraining.party.wire.orders import AverageWeights


def average_weights(share: ModelShare, exchange: Exchange, order: AverageWeights) -> None:
    """Exchanges this client's parameters and buffers for everybody's average; its optimizer keeps its state."""
    outline, rows = share.outline, [num_rows for _, num_rows in order.train_rows]
    errand = plan_errand(order.step, max_bytes=outline.count_state_bytes())
    average = exchange.run(errand, share.export_weights(), lambda parts: combine_weights(parts, outline, rows))
    share.import_weights(average)


def plan_errand(step: int, *, max_bytes: int) -> Errand:
    """Returns what a round's average is called."""
    return Errand(BlobKind.WEIGHTS, BlobKind.AVERAGE, sequence=step, max_bytes=max_bytes)
