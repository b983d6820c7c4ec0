"""The party document: all that one party is told before it starts.

The operator, or a local run, writes it; the party reads it at a mounted path. It holds no secret: the first credential
is a file whose path stands here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.contract import Contract, Role
from splittraining.api.spec.data import DataFile, DataSpec
from splittraining.api.spec.warm_start import WarmStartSpec

__all__ = ["Endpoint", "IntakeAccess", "PartyDocument", "Peer", "PredictionTask", "Reporting", "Role"]


class Peer(Document):
    """Another party of the run, as this one must recognise it."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    """Party name."""
    role: Role
    """Client or Server."""
    trust_domain: Annotated[str, Field(min_length=1, max_length=253)]
    """Whose certificates speak for it."""


class Endpoint(Document):
    """An address that is dialed or listened on."""

    host: Annotated[str, Field(min_length=1, max_length=253)]
    """Name or address."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """TCP port."""


class IntakeAccess(Document):
    """The door to certificates and reports."""

    url: Annotated[str, Field(max_length=2048)]
    """Base URL, https: certificates, which every replica gives."""
    report_url: Annotated[str, Field(max_length=2048)] = ""
    """Base URL of the one that takes reports, https; empty means `url`. Its certificate is for its own host name."""
    bundle_path: Annotated[str, Field(max_length=4096)]
    """PEM file of the certificates that the door's own certificate must chain to."""
    token_path: Annotated[str, Field(max_length=4096)]
    """File with the credential for the first certificate."""


class Reporting(Document):
    """How often a party tells how it goes."""

    period_milliseconds: Annotated[int, Field(ge=50, le=60000)] = 5000
    """Longest silence between two reports while training; transitions are sent at once."""


class PredictionTask(Document):
    """What a party does where nothing is trained: it predicts with the segments that it has."""

    result_path: Annotated[str, Field(min_length=1, max_length=4096)]
    """Folder of the party's result: its segments and their manifest, of the same contract."""
    rows: DataFile | None = None
    """File with the rows on the party's volume; absent means data.test. Its label columns are not read."""


class PartyDocument(Document):
    """Everything one party is told before it starts."""

    document_version: int = 1
    namespace: Annotated[str, Field(max_length=63)] = "default"
    """Namespace of the SplitTraining."""
    training: Annotated[str, Field(min_length=1, max_length=40)]
    """Name of the SplitTraining."""
    run_id: Annotated[str, Field(min_length=1, max_length=63)]
    """Names this run in every identity."""
    generation: Annotated[int, Field(ge=1)] = 1
    """Raised by every start over; frames of another generation are refused."""
    party: Annotated[str, Field(min_length=1, max_length=40)]
    """This party's name."""
    role: Role
    """Client or Server."""
    trust_domain: Annotated[str, Field(min_length=1, max_length=253)]
    """This party's own trust domain."""
    peers: Annotated[tuple[Peer, ...], Field(max_length=65)]
    """Every other party of the run, in contract order."""
    contract: Contract
    """What all parties agree on."""
    contract_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of the contract, as the parties will show it to each other."""
    plan_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of this party's own plan, which an approval names beside the contract's; no other party is told it."""
    rounds: Annotated[int, Field(ge=1, le=1000000)]
    """Rounds to train; not part of the contract."""
    server: Endpoint
    """Where clients dial the server party."""
    listen_host: Annotated[str, Field(max_length=253)] = ""
    """Address that the server party binds, with the port of `server`; empty means the host of `server`. In a pod all
    addresses (`0.0.0.0` or `::`), since the name that clients dial is not one of the pod's own."""
    listen: Endpoint | None = None
    """Where a client listens for its predecessor in the ring of a PeerToPeer hand-off; absent where nobody dials it."""
    successor: Endpoint | None = None
    """Where that client's successor in the ring is dialed."""
    intake: IntakeAccess
    """Where the party gets its certificate and sends its reports."""
    reporting: Reporting = Reporting()
    """How often a party tells how it goes."""
    data: DataSpec | None = None
    """This party's own data, as its manifest names it; absent where it holds none."""
    data_path: Annotated[str, Field(max_length=4096)] = ""
    """Folder that data.train.path and data.test.path are relative to."""
    warm_start: WarmStartSpec | None = None
    """The weights that this party's layers start from, as its manifest names them."""
    warm_start_path: Annotated[str, Field(max_length=4096)] = ""
    """Folder that warmStart.path is relative to."""
    prediction: PredictionTask | None = None
    """What to predict; absent: the party trains."""
    source_path: Annotated[str, Field(max_length=4096)] = ""
    """Folder with the model's source files, or empty when the model is installed."""
    output_path: Annotated[str, Field(min_length=1, max_length=4096)]
    """Folder for results, metrics and logs."""
    termination_path: Annotated[str, Field(max_length=4096)] = ""
    """File that is also told how the party ended, as JSON of code, reason and message in at most 4096 bytes; or empty.
    In a pod the container's termination log: all that is seen of a party that never got a certificate."""
    isolation_probe: Endpoint | None = None
    """An address that the network policies of this party must forbid. The party tries it once, before it reads data and
    connects to its peers, and reports what it found; absent: nothing is tried."""
    isolation_required: bool = False
    """Whether a party that can reach that address ends before it reads any data."""
    device: Annotated[str, Field(pattern=r"^(CPU|CUDA)$")] = "CPU"
    """Where tensors live."""
    ready_timeout_seconds: Annotated[int, Field(ge=1)] = 600
    """How long to wait for all parties at the start."""
    stall_timeout_seconds: Annotated[int, Field(ge=1)] = 600
    """How long a connected peer may make no progress."""
