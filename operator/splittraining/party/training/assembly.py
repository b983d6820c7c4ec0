"""Puts one party together from its document: numerics, data, its share of the model, the loss, the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from splittraining.api.contract import Contract, Role
from splittraining.api.errors import ContractMismatch, DataInvalid
from splittraining.api.party_document import PartyDocument, PredictionTask
from splittraining.api.spec.data import DataFile
from splittraining.api.spec.schedule import ScheduleMode
from splittraining.api.spec.training import LossSpec, NumericsMode
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.data.augmentation import RowTransform
from splittraining.party.data.dataset import Dataset, load_dataset
from splittraining.party.data.row_ids import compute_row_ids_digest, order_by_id
from splittraining.party.model.arguments import parse_arguments
from splittraining.party.model.build import load_entrypoint
from splittraining.party.training.agreement import check_agreed, check_source
from splittraining.party.training.device import select_device
from splittraining.party.training.engine import StepEngine
from splittraining.party.training.feed import BatchFeed
from splittraining.party.training.fingerprint import compute_fingerprint, prepare_numerics
from splittraining.party.training.loss import build_loss, parse_ignore_index
from splittraining.party.training.metrics import MetricSet
from splittraining.party.training.share import ModelShare
from splittraining.party.training.stored_result import StoredResult, read_result
from splittraining.party.wire.progress import Progress


@dataclass(frozen=True)
class Assembly:
    """One party, ready to connect."""

    document: PartyDocument
    share: ModelShare
    engine: StepEngine
    train: Dataset | None
    test: Dataset | None
    device: torch.device
    fingerprint: dict[str, str]
    progress: Progress
    transform: RowTransform | None = None
    result: StoredResult | None = None
    """What was trained before, in a run that predicts."""

    @property
    def contract(self) -> Contract:
        """What all parties agreed on."""
        return self.document.contract

    @property
    def is_joint(self) -> bool:
        """Whether every step uses all parties."""
        return self.contract.schedule.mode is ScheduleMode.JOINT

    @property
    def holds_data(self) -> bool:
        """Whether this party has rows of its own."""
        return self.document.data is not None

    @property
    def train_rows(self) -> int:
        """Rows of this party's training set."""
        return 0 if self.train is None else self.train.num_rows

    @property
    def test_rows(self) -> int:
        """Rows of this party's test set."""
        return 0 if self.test is None else self.test.num_rows

    def build_feed(self, *, split: str, num_rows: int, row_ids_key: bytes) -> BatchFeed:
        """Builds the feed of one split for this party.

        Args:
            split: ``train`` or ``test``.
            num_rows: Rows of the split.
            row_ids_key: Key of the digests; used in Joint only.
        """
        return BatchFeed(
            self.train if split == "train" else self.test,
            num_rows=num_rows,
            batch_size=self.contract.training.batch_size,
            seed=self.contract.training.seed,
            client="" if self.is_joint else self.document.party,
            row_ids_key=row_ids_key if self.is_joint else None,
            transform=self.transform if split == "train" else None,
        )

    def digest_ids(self, split: str, row_ids_key: bytes) -> str:
        """Returns the keyed digest of all row ids of a split, in order; empty where none are compared."""
        dataset = self.train if split == "train" else self.test
        if not self.is_joint or dataset is None or dataset.ids is None:
            return ""
        return compute_row_ids_digest(row_ids_key, scope=f"all/{split}", ids=dataset.ids).hex()

    def build_metrics(self) -> MetricSet:
        """Builds empty sums for one evaluation."""
        loss = self.contract.get_loss(self.document.party) or LossSpec()
        return MetricSet(self.contract.training.evaluation.metrics, loss.name, ignore_index=parse_ignore_index(loss))


def find_owner(document: PartyDocument) -> str:
    """Returns the name under which this party owns stages: its own in Joint, else its role's."""
    if document.role is Role.SERVER or document.contract.schedule.mode is ScheduleMode.JOINT:
        return document.party
    return CLIENT_OWNER


def assemble(document: PartyDocument, *, monotonic_s: Callable[[], float]) -> Assembly:
    """Builds one party.

    Raises:
        SplitTrainingError: for anything in the contract, the model, the data or the device that cannot be used.
    """
    check_agreed(document)
    contract = document.contract
    numerics = contract.training.numerics
    device = select_device(document.device)
    prepare_numerics(
        intra_op_threads=numerics.intra_op_threads, device=device, exact=numerics.mode is NumericsMode.EXACT
    )
    check_source(document)
    result = None if document.prediction is None else read_own_result(document, document.prediction)
    train, test = _load_data(document)
    owner = find_owner(document)
    share = ModelShare(
        contract,
        owner=owner,
        source_path=document.source_path,
        device=device,
        shard=_find_shard(document),
        predicts=result is not None,
    )
    if result is None:
        share.start_from(document.warm_start, document.warm_start_path)
    progress = Progress(monotonic_s)
    loss = contract.get_loss(document.party)
    engine = StepEngine(
        owner=owner,
        wire_plan=share.wire_plan,
        runners=share.runners,
        optimizer=share.optimizer,
        loss=None if loss is None else build_loss(loss, lambda entry: load_entrypoint(entry, document.source_path)),
        device=device,
        party=document.party,
        progress=progress,
    )
    fingerprint = compute_fingerprint(intra_op_threads=numerics.intra_op_threads, device=device)
    transform = _build_transform(document)
    return Assembly(document, share, engine, train, test, device, fingerprint, progress, transform, result)


def read_own_result(document: PartyDocument, task: PredictionTask) -> StoredResult:
    """Reads what this party trained.

    Raises:
        StorageFailed: if it is missing or damaged.
        ContractMismatch: if it is another party's, or of another contract.
    """
    stored = read_result(Path(task.result_path))
    for what, given, expected in (
        ("party", stored.manifest.party, document.party),
        ("contract", stored.manifest.contract_digest, document.contract_digest),
    ):
        if given != expected:
            raise ContractMismatch(
                f"the result in {task.result_path} is of {what} {given}",
                allowed=f"{what} {expected}",
                remedy="predict with the manifest of the training, and with the party's own result",
            )
    return stored


def _build_transform(document: PartyDocument) -> RowTransform | None:
    spec = None if document.data is None else document.data.transform
    if spec is None:
        return None
    function = load_entrypoint(spec.entrypoint, document.source_path)
    bound = partial(function, **parse_arguments(function, spec.arguments, num_given=2))
    seed = document.contract.training.seed
    return RowTransform(bound, entrypoint=spec.entrypoint, seed=seed, party=document.party)


def _find_shard(document: PartyDocument) -> str:
    """Returns what keeps a client's random draws apart from the others' where all run one segment at once."""
    at_once = document.contract.schedule.mode in (ScheduleMode.PARALLEL, ScheduleMode.SPLIT_FED)
    return document.party if at_once and document.role is Role.CLIENT else ""


def _load_data(document: PartyDocument) -> tuple[Dataset | None, Dataset | None]:
    given, task = document.data, document.prediction
    if given is None:
        return None, None
    # Nobody knows the labels of rows that are predicted.
    spec = given if task is None else given.model_copy(update={"label": None})
    loader = None
    if spec.loader is not None:
        function = load_entrypoint(spec.loader.entrypoint, document.source_path)
        loader = partial(function, **parse_arguments(function, spec.loader.arguments, num_given=1))
    is_joint = document.contract.schedule.mode is ScheduleMode.JOINT

    def load(file: DataFile | None) -> Dataset | None:
        if file is None:
            return None
        dataset = load_dataset(
            spec,
            file,
            root=document.data_path,
            inputs=document.contract.model.inputs,
            label=document.contract.get_label(document.party),
            loader=loader,
        )
        return order_by_id(dataset) if is_joint else dataset

    if task is None:
        return load(spec.train), load(spec.test)
    rows = task.rows or spec.test
    if rows is None and is_joint:
        raise DataInvalid(
            f"party {document.party} has no rows to predict: neither a file is named nor data.test",
            allowed="in a Joint schedule the same rows, by idColumn, at every party with data",
            remedy=f"add --rows {document.party}=FILE",
        )
    return None, load(rows)
