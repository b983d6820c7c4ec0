"""What goes over the wire equals the formula to the byte, and the framing is small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splittraining.api.plan_report import PlanReport
from splittraining.api.report import LinkBytes
from splittraining.api.wire_plan import CLIENT_OWNER, WirePlan
from support.cases import Case, a_norm_case, a_u_net_case, a_u_shaped_case, a_vanilla_case, a_vertical_case
from support.runs import FinishedRun, run_case

FRAMING_BYTES_PER_VALUE = 128
"""At most, for values below 64 KiB: the frame's own header of 64 bytes, and what gRPC and HTTP/2 add."""
GRPC_BYTES_PER_MESSAGE = 5 + 9


def list_batches(num_rows: int, batch_size: int) -> list[int]:
    return [min(batch_size, num_rows - start) for start in range(0, num_rows, batch_size)]


def compute_expected(case: Case, plan: WirePlan, client: str) -> tuple[dict[str, int], dict[str, int]]:
    """Returns payload bytes and tensor frames of one client by direction, from the formula and the visited batches."""
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
                for direction, party in (("sent", transfer.sender), ("received", transfer.receiver)):
                    if party == owner:
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
