"""What the conductor tells the clients, and what they answer. Bounded JSON in control frames; docs/wire.md lists them.

Numbers with a fraction travel as decimal text (`repr` of a double), so that no reader rounds them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from splittraining.api.base import Document
from splittraining.party.wire.message import Message

_PARTY = Field(min_length=1, max_length=40)
_BASE64 = Field(max_length=16384)
_DECIMAL = Field(max_length=32)
_COUNT = Field(ge=0, le=2**53)


SealingKeyCard = Annotated[dict[Annotated[str, Field(max_length=32)], Annotated[str, _BASE64]], Field(max_length=8)]
"""A party's fresh public key, vouched for by its leaf, as `pki.sealing_keys` renders it."""


class PeerCard(Message):
    """Conductor to every client, once per other party and before Prepare: a key to seal to."""

    type: Literal["PeerCard"] = "PeerCard"
    card: SealingKeyCard


class Prepare(Message):
    """Conductor to every client: all are here; agree on the clients' secret."""

    type: Literal["Prepare"] = "Prepare"
    secret_holder: Annotated[str, _PARTY]
    """The client that draws the secret and seals it to the others."""
    train_rows: Annotated[int, _COUNT] = 0
    """Joint: rows of the aligned training set."""
    test_rows: Annotated[int, _COUNT] = 0
    """Joint: rows of the aligned test set, 0 for none."""
    steps: Annotated[int, _COUNT] = 0
    """Global steps of the whole training."""


class Prepared(Message):
    """Client to conductor: ready to train; keyed digests of row ids where rows are aligned."""

    type: Literal["Prepared"] = "Prepared"
    train_ids_digest: Annotated[str, Field(max_length=32)] = ""
    test_ids_digest: Annotated[str, Field(max_length=32)] = ""


class SealedNotice(Message):
    """Announces a sealed blob that follows at once; relayed by the server as it is."""

    type: Literal["SealedNotice"] = "SealedNotice"
    kind: Annotated[str, Field(max_length=40)]
    sender: Annotated[str, _PARTY]
    recipient: Annotated[str, _PARTY]
    sequence: Annotated[int, _COUNT]
    piece_sizes: Annotated[tuple[int, ...], Field(max_length=4096)]
    leaf: Annotated[str, _BASE64]
    """The sender's leaf of the moment: the one in its card may have ended since."""
    signature: Annotated[str, _BASE64]
    """By that leaf's key."""


class TurnSpan(Document):
    """Consecutive batches of one epoch."""

    epoch: Annotated[int, _COUNT]
    first_batch: Annotated[int, _COUNT]
    num_batches: Annotated[int, Field(ge=1, le=2**53)]


class Turn(Message):
    """Conductor to client: train these batches; the first one is global step `first_step`."""

    type: Literal["Turn"] = "Turn"
    round: Annotated[int, _COUNT]
    first_step: Annotated[int, _COUNT]
    spans: Annotated[tuple[TurnSpan, ...], Field(min_length=1, max_length=1024)]


class TurnDone(Message):
    """Client to conductor: the turn is over."""

    type: Literal["TurnDone"] = "TurnDone"
    step: Annotated[int, _COUNT]
    rows: Annotated[int, _COUNT]
    loss_sum: Annotated[str, _DECIMAL] = ""
    """Row-weighted sum of the turn's losses; empty where this party does not compute the loss."""


MAX_NORMS = 1024
"""Most gradient norms in one message; more go into several."""


class GradientNorms(Message):
    """Client to conductor, in a step that clips by global norm: norms of its gradients, in the whole model's order."""

    type: Literal["GradientNorms"] = "GradientNorms"
    step: Annotated[int, _COUNT]
    first: Annotated[int, _COUNT] = 0
    """Position of the first of them among the client's parameters."""
    norms: Annotated[tuple[Annotated[str, _DECIMAL], ...], Field(max_length=MAX_NORMS)] = ()
    """Empty text where a parameter has no gradient."""


class GradientNorm(Message):
    """Conductor to client: the norm of all parties' gradients of a step."""

    type: Literal["GradientNorm"] = "GradientNorm"
    step: Annotated[int, _COUNT]
    norm: Annotated[str, _DECIMAL]


TrainRows = Annotated[
    tuple[tuple[Annotated[str, _PARTY], Annotated[int, Field(ge=1, le=2**53)]], ...],
    Field(min_length=1, max_length=64),
]
"""Name and training rows of every client, in listed order."""


class ParallelTurn(Message):
    """Conductor to every client: one pass over all rows together; answered with TurnDone."""

    type: Literal["ParallelTurn"] = "ParallelTurn"
    round: Annotated[int, _COUNT]
    epoch: Annotated[int, _COUNT]
    first_step: Annotated[int, _COUNT]
    train_rows: TrainRows
    """From these every client computes who brings which rows to which step."""


class AverageWeights(Message):
    """Conductor to every client: send your weights to the averaging party and take the average in their place."""

    type: Literal["AverageWeights"] = "AverageWeights"
    step: Annotated[int, _COUNT]
    train_rows: TrainRows
    """The weights of the average."""


class WeightsAveraged(Message):
    """Client to conductor: the average is loaded."""

    type: Literal["WeightsAveraged"] = "WeightsAveraged"
    step: Annotated[int, _COUNT]


class Evaluate(Message):
    """Conductor to client: run your test rows forward, in order."""

    type: Literal["Evaluate"] = "Evaluate"
    round: Annotated[int, _COUNT]
    step: Annotated[int, _COUNT]


class Evaluated(Message):
    """Client to conductor: sums over the test rows, where this party holds the labels."""

    type: Literal["Evaluated"] = "Evaluated"
    rows: Annotated[int, _COUNT] = 0
    sums: Annotated[tuple[tuple[str, str], ...], Field(max_length=32)] = ()


class Keep(Message):
    """Conductor to client: keep a copy of your weights as they are, in place of any earlier one."""

    type: Literal["Keep"] = "Keep"
    round: Annotated[int, _COUNT]


class Restore(Message):
    """Conductor to client, before Finish: go back to the weights that you kept of this round."""

    type: Literal["Restore"] = "Restore"
    round: Annotated[int, _COUNT]


class HandOff(Message):
    """Conductor to the client that holds the current weights: seal them to `recipient`."""

    type: Literal["HandOff"] = "HandOff"
    recipient: Annotated[str, _PARTY]
    sequence: Annotated[int, _COUNT]
    step: Annotated[int, _COUNT]
    weights_only: bool = False
    """For evaluation and at the end: parameters and buffers without optimizer state."""


class TakeOver(Message):
    """Conductor to the client after the one that hands on, PeerToPeer: its sealed weights come over your own link."""

    type: Literal["TakeOver"] = "TakeOver"
    sender: Annotated[str, _PARTY]
    sequence: Annotated[int, _COUNT]


class HandOffDone(Message):
    """Recipient to conductor: opened, verified and loaded."""

    type: Literal["HandOffDone"] = "HandOffDone"
    sequence: Annotated[int, _COUNT]


class Finish(Message):
    """Conductor to client: write your result."""

    type: Literal["Finish"] = "Finish"
    step: Annotated[int, _COUNT]
    round: Annotated[int, _COUNT] = 0
    """The round whose weights these are."""


class Finished(Message):
    """Client to conductor: written, with the digest of the manifest."""

    type: Literal["Finished"] = "Finished"
    manifest_digest: Annotated[str, Field(max_length=80)]


class Predict(Message):
    """Conductor to client, in a run that predicts: run your rows forward, in order; the first batch is `first_step`."""

    type: Literal["Predict"] = "Predict"
    first_step: Annotated[int, _COUNT]
    result_generation: Annotated[int, _COUNT]
    """Generation of the server's trained segments; the client's must be of the same."""
    result_step: Annotated[int, _COUNT]
    """Global step of the server's trained segments; the client's must be of the same."""


class Predicted(Message):
    """Client to conductor: all rows are through."""

    type: Literal["Predicted"] = "Predicted"
    rows: Annotated[int, _COUNT]


ORDERS: tuple[type[Message], ...] = (
    PeerCard,
    Prepare,
    Prepared,
    SealedNotice,
    Turn,
    TurnDone,
    GradientNorms,
    GradientNorm,
    ParallelTurn,
    AverageWeights,
    WeightsAveraged,
    Evaluate,
    Evaluated,
    Keep,
    Restore,
    HandOff,
    TakeOver,
    HandOffDone,
    Finish,
    Finished,
    Predict,
    Predicted,
)
"""Every message after the handshake."""
