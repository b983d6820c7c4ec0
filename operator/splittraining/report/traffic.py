"""What crossed each link, beside what the wire plan's formula says should have crossed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from splittraining.api.report import LinkBytes, Report
from splittraining.api.wire_plan import CLIENT_OWNER, WirePlan
from splittraining.report.metrics import MetricRows

Link = tuple[str, str]
"""Sender and receiver."""


@dataclass(frozen=True, slots=True)
class LinkTraffic:
    """Bytes of one direction between two parties, as its sender counted them."""

    sender: str
    receiver: str
    payload_bytes: int
    framing_bytes: int
    sealed_bytes: int
    control_bytes: int
    expected_payload_bytes: int | None
    """By the formula; None where no wire plan is known."""


def compute_traffic(reports: Iterable[Report], expected: Mapping[Link, int] | None) -> tuple[LinkTraffic, ...]:
    """Returns one row per link that carried anything, in the order of the reports.

    A sender that never reported is read from its receiver's side.

    Args:
        reports: The last report of each party.
        expected: Payload per link by the formula, or None where no wire plan is known.
    """
    rows: dict[Link, LinkTraffic] = {}
    for report in reports:
        for link in report.links:
            rows[report.party, link.peer] = _row_as_sent(report.party, link, expected)
    for report in reports:
        for link in report.links:
            if (link.peer, report.party) not in rows:
                rows[link.peer, report.party] = _row_as_received(report.party, link, expected)
    return tuple(row for row in rows.values() if _carried_anything(row))


def list_moved(reports: Iterable[Report]) -> dict[Link, int]:
    """Returns the tensor bytes that were sealed from one party to another, whoever carried them.

    Sender and receiver both count them; one of the two may never have reported.
    """
    moved: dict[Link, int] = {}
    for report in reports:
        for link in report.links:
            for pair, size in (
                ((report.party, link.peer), link.moved_sent),
                ((link.peer, report.party), link.moved_received),
            ):
                moved[pair] = max(size, moved.get(pair, 0))
    return {pair: size for pair, size in moved.items() if size}


def compute_expected_payload(plan: WirePlan, metrics: MetricRows, *, batch_size: int) -> dict[Link, int]:
    """Returns the payload per link that the formula gives for the steps and evaluations of a run.

    Args:
        plan: The wire plan all parties agreed on.
        metrics: Every step with its rows, and every evaluation with its rows per client.
        batch_size: Rows of a full batch, which evaluations use too.

    Source: wire_plan.WirePlan.compute_link_bytes, summed over batches.
    """
    totals: Counter[Link] = Counter()
    for (client, rows, training), count in _count_batches(metrics, batch_size).items():
        for (sender, receiver), size in plan.compute_link_bytes(rows, training=training).items():
            totals[_name(sender, client), _name(receiver, client)] += size * count
    return dict(totals)


def _count_batches(metrics: MetricRows, batch_size: int) -> Counter[tuple[str, int, bool]]:
    batches = Counter((step.client, step.rows, True) for step in metrics.steps)
    for evaluation in metrics.rounds:
        for client, rows in evaluation.evaluated.items():
            for size in _split(rows, batch_size):
                batches[client, size, False] += 1
    return batches


def _split(rows: int, batch_size: int) -> Iterator[int]:
    for start in range(0, rows, batch_size):
        yield min(batch_size, rows - start)


def _name(owner: str, client: str) -> str:
    return client if owner == CLIENT_OWNER and client else owner


def _row_as_sent(sender: str, link: LinkBytes, expected: Mapping[Link, int] | None) -> LinkTraffic:
    return LinkTraffic(
        sender,
        link.peer,
        payload_bytes=link.payload_sent,
        framing_bytes=link.framing_sent,
        sealed_bytes=link.sealed_sent,
        control_bytes=link.control_sent,
        expected_payload_bytes=None if expected is None else expected.get((sender, link.peer), 0),
    )


def _row_as_received(receiver: str, link: LinkBytes, expected: Mapping[Link, int] | None) -> LinkTraffic:
    return LinkTraffic(
        link.peer,
        receiver,
        payload_bytes=link.payload_received,
        framing_bytes=link.framing_received,
        sealed_bytes=link.sealed_received,
        control_bytes=link.control_received,
        expected_payload_bytes=None if expected is None else expected.get((link.peer, receiver), 0),
    )


def _carried_anything(row: LinkTraffic) -> bool:
    return any((row.payload_bytes, row.framing_bytes, row.sealed_bytes, row.control_bytes))
