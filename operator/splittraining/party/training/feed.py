"""What a party brings to each step: its batches in the agreed order, with keyed digests where rows are aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from splittraining.party.data.augmentation import RowTransform
from splittraining.party.data.dataset import Batch, Dataset
from splittraining.party.data.order import RowIndices, compute_epoch_order
from splittraining.party.data.row_ids import compute_row_ids_digest
from splittraining.party.training.engine import StepInput
from splittraining.party.training.schedule import Span, count_batch_rows, count_batches


class BatchFeed:
    """Turns spans of an epoch into step inputs.

    Args:
        dataset: This party's rows of one split, or None where it brings none.
        num_rows: Rows of the split: the party's own or, in Joint, the aligned number.
        batch_size: Rows of a full batch.
        seed: The training's seed.
        client: Whose order it is; empty in Joint, where all parties share one order.
        row_ids_key: Key of the digests in Joint, else None.
        transform: What changes the training rows, or None.
    """

    def __init__(
        self,
        dataset: Dataset | None,
        *,
        num_rows: int,
        batch_size: int,
        seed: int,
        client: str,
        row_ids_key: bytes | None = None,
        transform: RowTransform | None = None,
    ) -> None:
        self._dataset = dataset
        self._num_rows = num_rows
        self._batch_size = batch_size
        self._seed = seed
        self._client = client
        self._row_ids_key = row_ids_key
        self._transform = transform

    def iterate_training(self, spans: Sequence[Span], *, first_step: int) -> Iterator[StepInput]:
        """Yields the step inputs of a turn, each epoch in its own keyed order."""
        step = first_step
        for span in spans:
            order = self._compute_order(span.epoch)
            for batch in range(span.first_batch, span.first_batch + span.num_batches):
                yield self._build(order, batch, step=step, scope=f"train/{span.epoch}/{batch}", epoch=span.epoch)
                step += 1

    def iterate_test(self, *, step: int) -> Iterator[StepInput]:
        """Yields the step inputs of one evaluation, rows in stored order, all under the step they evaluate."""
        order = None if self._dataset is None else np.arange(self._num_rows)
        for batch in range(count_batches(self._num_rows, self._batch_size)):
            yield self._build(order, batch, step=step, scope=f"test/{batch}")

    def take(self, indices: RowIndices, *, step: int, epoch: int, loss_share: float | None) -> StepInput:
        """Returns the step input of training rows that were chosen elsewhere."""
        assert self._dataset is not None  # only a holder of rows is asked for some
        taken = self._take(self._dataset, indices, epoch=epoch)
        return StepInput(step, len(indices), taken.inputs, taken.label, loss_share=loss_share)

    def _take(self, dataset: Dataset, indices: RowIndices, *, epoch: int | None) -> Batch:
        taken = dataset.take(indices)
        if self._transform is None or epoch is None:
            return taken
        return self._transform.apply(taken, indices, epoch=epoch)

    def _compute_order(self, epoch: int) -> np.ndarray | None:
        if self._dataset is None:
            return None
        return compute_epoch_order(self._seed, self._client, epoch, self._num_rows)

    def _build(
        self, order: np.ndarray | None, batch: int, *, step: int, scope: str, epoch: int | None = None
    ) -> StepInput:
        rows = count_batch_rows(self._num_rows, self._batch_size, batch)
        if self._dataset is None or order is None:
            return StepInput(step=step, rows=rows)
        indices = order[batch * self._batch_size : batch * self._batch_size + rows]
        taken = self._take(self._dataset, indices, epoch=epoch)
        digest = None
        if self._row_ids_key is not None and self._dataset.ids is not None:
            ids = [self._dataset.ids[index] for index in indices]
            digest = compute_row_ids_digest(self._row_ids_key, scope=scope, ids=ids)
        return StepInput(step, rows, taken.inputs, taken.label, digest)


class Prefetched(Iterator[StepInput]):
    """One step input of lookahead, fetched when the caller has time: while it waits for its peer."""

    def __init__(self, source: Iterator[StepInput]) -> None:
        self._source = source
        self._next: StepInput | None = None

    def fetch(self) -> None:
        """Fetches the next step input unless it is already here."""
        if self._next is None:
            self._next = next(self._source, None)

    def __next__(self) -> StepInput:
        self.fetch()
        if self._next is None:
            raise StopIteration
        current, self._next = self._next, None
        return current
