"""A run as the report sees it: two clients of unequal size, two rounds, one evaluation each."""

from __future__ import annotations

import json

from splittraining.api.party_document import Role
from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.report import LinkBytes, PartyState, Report
from splittraining.api.wire_plan import DType, Stage, Value, ValueSource, WirePlan
from splittraining.report.record import RecordedOutcome, RecordedParty, RunRecord

BATCH_SIZE = 4
CUT_BYTES = 3 * 4  # three Float32 a row
LABEL_BYTES = 8  # one Int64 a row


def build_wire_plan() -> WirePlan:
    """A cut of three numbers a row, and labels that travel."""
    cut = Value(
        id=0, name="body", source=ValueSource.CUT, dtype=DType.FLOAT32, shape=(1, 3), producer=0, consumers=(1,)
    )
    label = Value(
        id=1,
        name="label",
        source=ValueSource.LABEL,
        dtype=DType.INT64,
        shape=(1,),
        differentiable=False,
        producer=0,
        consumers=(1,),
    )
    stages = (Stage(index=0, owner="client"), Stage(index=1, owner="server"))
    return WirePlan(stages=stages, loss_stage=1, values=(cut, label))


def build_plan_report() -> PlanReport:
    """What `splittraining-party plan` prints for it."""
    plan = build_wire_plan()
    return PlanReport(
        segments=(
            SegmentReport(
                stage=0,
                owner="client",
                num_parameters=195,
                num_buffers=0,
                weight_bytes=780,
                parameter_bytes=780,
                trained_bytes=780,
                num_trained=2,
                layers=("body",),
            ),
            SegmentReport(
                stage=1,
                owner="server",
                num_parameters=8,
                num_buffers=0,
                weight_bytes=32,
                parameter_bytes=32,
                trained_bytes=32,
                num_trained=2,
                layers=("head", "head.out"),
            ),
        ),
        wire_plan=plan,
        wire_plan_digest=plan.compute_digest(),
        notes=("aux.weight is used by no stage and stays as it was initialized",),
    )


def build_metric_lines() -> list[str]:
    """Two rounds: st-mary trains 6 rows (4 + 2) a round, st-luke 3; both evaluate 5."""
    batches = [("st-mary", 4), ("st-mary", 2), ("st-luke", 3)] * 2
    rows: list[dict[str, object]] = [
        {
            "kind": "step",
            "step": step,
            "round": 1 if step <= 3 else 2,
            "loss": 2.0 / step,
            "rows": count,
            "client": client,
        }
        for step, (client, count) in enumerate(batches, start=1)
    ]
    rows += [
        {
            "kind": "round",
            "round": number,
            "step": 3 * number,
            "seconds": 0.25,
            "evaluated": {"st-mary": 5, "st-luke": 5},
            "metrics": {"train_loss": 1.0 / number, "loss": 0.5, "accuracy": 0.9},
        }
        for number in (1, 2)
    ]
    return [json.dumps(row) for row in rows]


def build_reports() -> tuple[Report, ...]:
    """The last reports of a server and two clients, whose bytes are what the formula gives."""
    trained, evaluated = {"st-mary": 12, "st-luke": 6}, 10
    links = []
    reports = []
    for index, (client, rows) in enumerate(trained.items()):
        up, down = (rows + evaluated) * (CUT_BYTES + LABEL_BYTES), rows * CUT_BYTES
        link = LinkBytes(
            peer="server",
            payload_sent=up,
            payload_received=down,
            framing_sent=560,
            framing_received=240,
            sealed_sent=900,
            sealed_received=900,
            control_sent=1200,
            control_received=1500,
        )
        links.append(_turn_round(link, client))
        reports.append(_build_report(client, sequence=9 + index, samples=rows, links=(link,)))
    server = _build_report("server", sequence=20, samples=18, links=tuple(links))
    return (server, *reports)


def build_record(**changes: object) -> RunRecord:
    """The record of the run."""
    parties = (("server", Role.SERVER), ("st-mary", Role.CLIENT), ("st-luke", Role.CLIENT))
    record = RunRecord(
        name="chest-xray",
        namespace="trial",
        run_id="0123456789abcdef",
        topology="Vanilla",
        schedule="Sequential, turns of 1 Epoch, hand-off ViaServer",
        rounds=2,
        batch_size=BATCH_SIZE,
        parties=tuple(RecordedParty(name=name, role=role) for name, role in parties),
        contract_digest="sha256:" + "12" * 32,
        started_at="2030-01-01T12:00:00+00:00",
        finished_at="2030-01-01T12:01:14+00:00",
        elapsed_milliseconds=74400,
        outcome=RecordedOutcome(exit_code=0),
        versions={"splittraining": "0.1.0", "python": "3.11.9", "torch": "2.15.0"},
        reports=build_reports(),
        plan=build_plan_report(),
    )
    return record.model_copy(update=changes)


def _turn_round(link: LinkBytes, peer: str) -> LinkBytes:
    return LinkBytes(
        peer=peer,
        payload_sent=link.payload_received,
        payload_received=link.payload_sent,
        framing_sent=link.framing_received,
        framing_received=link.framing_sent,
        sealed_sent=link.sealed_received,
        sealed_received=link.sealed_sent,
        control_sent=link.control_received,
        control_received=link.control_sent,
    )


def _build_report(party: str, *, sequence: int, samples: int, links: tuple[LinkBytes, ...]) -> Report:
    return Report(
        party=party,
        generation=1,
        sequence=sequence,
        state=PartyState.SUCCEEDED,
        round=2,
        rounds=2,
        step=6,
        steps=6,
        samples=samples,
        device="cpu",
        links=links,
        peak_memory_bytes=512 * 2**20,
    )
