"""What goes over the wire equals the formula to the byte, and the framing is small."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.plan_report import PlanReport
from splittraining.api.report import LinkBytes
from splittraining.api.wire_plan import CLIENT_OWNER, WirePlan
from splittraining.report.metrics import MetricRows, parse_metric_lines
from splittraining.report.traffic import compute_expected_payload, compute_traffic
from support.cases import (
    Case,
    a_multi_hop_case,
    a_norm_case,
    a_u_net_case,
    a_u_shaped_case,
    a_vanilla_case,
    a_vertical_case,
    an_extended_case,
)
from support.runs import FinishedRun, run_case

FRAMING_BYTES_PER_VALUE = 128
"""At most, for values below 64 KiB: the frame's own header of 64 bytes, and what gRPC and HTTP/2 add."""
GRPC_BYTES_PER_MESSAGE = 5 + 9
RELAYED_FRAMING_BYTES = 64 + 64 + 16
"""Of a frame that the server relays: the header that it sees, the sealed one, and the tag."""


def list_batches(num_rows: int, batch_size: int) -> list[int]:
    return [min(batch_size, num_rows - start) for start in range(0, num_rows, batch_size)]


def compute_expected(
    case: Case, plan: WirePlan, client: str, peer: str = SERVER_PARTY
) -> tuple[dict[str, int], dict[str, int]]:
    """Returns payload bytes and tensor frames of one client and peer by direction, from the formula and the batches."""
    spec, rounds = case.spec, case.spec["rounds"]
    is_joint = spec["schedule"]["mode"] == "Joint"
    owner = client if is_joint else CLIENT_OWNER
    payload, frames = {"sent": 0, "received": 0}, {"sent": 0, "received": 0}
    batch_size = spec["training"]["batchSize"]
    for part, is_training in (("train", True), ("test", False)):
        tables = next(iter(case.tables.values())) if is_joint else case.tables[client]
        (column, *_) = tables[part].values()
        for rows in list_batches(len(column), batch_size) * rounds:
            for transfer in plan.iterate_transfers(training=is_training):
                ways = {(owner, peer): "sent", (peer, owner): "received"}
                direction = ways.get((transfer.sender, transfer.receiver))
                if direction is not None:
                    payload[direction] += transfer.value.compute_size_bytes(rows)
                    frames[direction] += 1
    return payload, frames


def find_link(run: FinishedRun, party: str, peer: str) -> LinkBytes:
    (report,) = (report for report in run.record.reports if report.party == party)
    (link,) = (link for link in report.links if link.peer == peer)
    return link


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case(), id="Vanilla with labels and hand-offs"),
        pytest.param(a_u_shaped_case(), id="UShaped", marks=pytest.mark.slow),
        pytest.param(a_u_net_case(), id="U-Net with local skips", marks=pytest.mark.slow),
        pytest.param(a_vertical_case(), id="Vertical"),
        pytest.param(an_extended_case(), id="ExtendedVanilla", marks=pytest.mark.slow),
        pytest.param(a_norm_case(dropout="0.1", topology="UShaped"), id="images in a U-shape", marks=pytest.mark.slow),
    ],
)
def test_payload_equals_the_formula_to_the_byte(case: Case, tmp_path: Path) -> None:
    run = run_case(case, tmp_path)
    assert run.outcome.exit_code == 0, run.outcome
    report = PlanReport.model_validate(json.loads((run.folder / "server" / "plan.json").read_text("utf-8")))
    for client in (each["name"] for each in case.spec["clients"]):
        payload, frames = compute_expected(case, report.wire_plan, client)
        at_client, at_server = find_link(run, client, "server"), find_link(run, "server", client)
        assert at_client.payload_sent == at_server.payload_received == payload["sent"]
        assert at_client.payload_received == at_server.payload_sent == payload["received"]
        for direction, framing in (("sent", at_client.framing_sent), ("received", at_client.framing_received)):
            added = framing + GRPC_BYTES_PER_MESSAGE * frames[direction]
            assert added <= FRAMING_BYTES_PER_VALUE * frames[direction]


def parse_metrics(run: FinishedRun) -> MetricRows:
    return parse_metric_lines(path.read_text("utf-8").splitlines() for path in run.folder.glob("*/metrics.jsonl"))


def test_a_relayed_link_carries_the_formulas_bytes_and_the_server_carries_no_more_than_their_framing(
    tmp_path: Path,
) -> None:
    case = a_multi_hop_case(label_at="clinic", skip=True)
    run = run_case(case, tmp_path)
    assert run.outcome.exit_code == 0, run.outcome
    report = PlanReport.model_validate(json.loads((run.folder / "server" / "plan.json").read_text("utf-8")))
    carried = {"clinic": [0, 0], "lab": [0, 0], "center": [0, 0]}
    # What skips a hop comes back past that hop: its gradient is added up there.
    pairs = set(permutations(carried, 2)) - {("center", "clinic")}
    for sender, receiver in pairs:
        payload, frames = compute_expected(case, report.wire_plan, sender, receiver)
        assert payload["sent"]
        at_sender, at_receiver = find_link(run, sender, receiver), find_link(run, receiver, sender)
        assert at_sender.payload_sent == at_receiver.payload_received == payload["sent"]
        assert at_sender.framing_sent == at_receiver.framing_received == RELAYED_FRAMING_BYTES * frames["sent"]
        assert not at_sender.control_sent + at_sender.sealed_sent + at_sender.relayed_sent
        carried[sender][0] += payload["sent"] + RELAYED_FRAMING_BYTES * frames["sent"]
        carried[receiver][1] += payload["sent"] + RELAYED_FRAMING_BYTES * frames["sent"]
    for client, (received, sent) in carried.items():
        link = find_link(run, SERVER_PARTY, client)
        assert (link.relayed_received, link.relayed_sent) == (received, sent)
        payload, _ = compute_expected(case, report.wire_plan, client)
        assert (link.payload_received, link.payload_sent) == (payload["sent"], payload["received"])
    rows = compute_traffic(
        run.record.reports, compute_expected_payload(report.wire_plan, parse_metrics(run), batch_size=4)
    )
    assert {(row.sender, row.receiver) for row in rows} >= pairs
    assert all(row.payload_bytes == row.expected_payload_bytes for row in rows)
