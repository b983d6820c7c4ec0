"""What a party brings to each step: keyed orders, short batches, digests of aligned rows, one batch of lookahead."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from splittraining.party.data.dataset import Dataset
from splittraining.party.training.client_secret import ClientSecret, draw_client_secret
from splittraining.party.training.engine import StepInput
from splittraining.party.training.feed import BatchFeed, Prefetched
from splittraining.party.training.schedule import Span

KEY = bytes(range(32))
IDS = tuple(f"p{index}" for index in range(7))


def a_dataset(ids: tuple[str, ...] = IDS) -> Dataset:
    return Dataset({"x": torch.arange(7.0)[:, None]}, torch.arange(7), ids, 7)


def a_feed(dataset: Dataset | None, *, client: str = "", key: bytes | None = KEY) -> BatchFeed:
    return BatchFeed(dataset, num_rows=7, batch_size=3, seed=1, client=client, row_ids_key=key)


def list_training(feed: BatchFeed, epoch: int = 0) -> list[StepInput]:
    return list(feed.iterate_training([Span(epoch, 0, 3)], first_step=5))


def test_an_epoch_visits_every_row_once_and_keeps_the_short_batch() -> None:
    inputs = list_training(a_feed(a_dataset()))
    assert [(given.step, given.rows) for given in inputs] == [(5, 3), (6, 3), (7, 1)]
    labels = torch.cat([given.label for given in inputs if given.label is not None])
    assert sorted(labels.tolist()) == list(range(7))
    assert labels.tolist() != list(range(7))


def test_each_epoch_and_each_client_has_an_order_of_its_own() -> None:
    orders = {
        tuple(label for given in list_training(feed, epoch) for label in given.label.tolist())  # type: ignore[union-attr]
        for epoch in (0, 1)
        for feed in (a_feed(a_dataset(), client="north"), a_feed(a_dataset(), client="south"))
    }
    assert len(orders) == 4


def test_test_rows_come_in_stored_order() -> None:
    labels = [given.label.tolist() for given in a_feed(a_dataset()).iterate_test(step=9) if given.label is not None]
    assert labels == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_party_without_data_only_knows_how_many_rows_there_are() -> None:
    inputs = list_training(a_feed(None))
    assert [(given.rows, dict(given.arguments), given.label, given.batch_digest) for given in inputs] == [
        (3, {}, None, None),
        (3, {}, None, None),
        (1, {}, None, None),
    ]


def test_the_digests_of_two_parties_agree_exactly_if_their_rows_do() -> None:
    digests = [given.batch_digest for given in list_training(a_feed(a_dataset()))]
    assert digests == [given.batch_digest for given in list_training(a_feed(a_dataset()))]
    assert len(set(digests)) == 3
    swapped = (*IDS[1::-1], *IDS[2:])
    assert digests != [given.batch_digest for given in list_training(a_feed(a_dataset(swapped)))]
    other_key = [given.batch_digest for given in list_training(a_feed(a_dataset(), key=bytes(32)))]
    assert not set(digests) & set(other_key)


def test_a_prefetched_batch_is_fetched_once() -> None:
    fetched: list[int] = []

    def produce() -> Iterator[StepInput]:
        for step in (1, 2):
            fetched.append(step)
            yield StepInput(step, 1)

    inputs = Prefetched(produce())
    inputs.fetch()
    inputs.fetch()
    assert fetched == [1]
    assert [given.step for given in inputs] == [1, 2]


def test_the_clients_secret_gives_separate_keys_and_shows_nothing() -> None:
    secret = draw_client_secret(bytes)
    assert secret.row_ids_key != secret.secret
    assert secret.initialization_seed != ClientSecret(b"\1" * 32).initialization_seed
    assert 0 <= secret.initialization_seed < 2**63
    assert repr(secret) == "ClientSecret(...)"
