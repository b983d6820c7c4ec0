"""The report as Markdown: outcome first, then the curves, then what crossed the walls, then what it ran on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.plan_report import PlanReport
from splittraining.report.curves import render_loss_curve, render_rounds
from splittraining.report.markdown import render_count, render_duration, render_size, render_table
from splittraining.report.metrics import MetricRows
from splittraining.report.record import RunRecord
from splittraining.report.traffic import LinkTraffic, compute_expected_payload, compute_traffic, list_moved


def render_report(record: RunRecord, metrics: MetricRows) -> str:
    """Renders the report of a run. The same record and rows give the same text, byte for byte.

    Args:
        record: Facts, outcome and the parties' last reports.
        metrics: The rows of every party's metrics.jsonl.
    """
    sections = [
        _render_head(record),
        _render_outcome(record),
        render_rounds(metrics),
        render_loss_curve(metrics),
        _render_parties(record),
        _render_traffic(record, metrics),
        _render_segments(record.plan),
        _render_identity(record),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _render_head(record: RunRecord) -> str:
    names = ", ".join(f"{party.name} ({party.role.value.lower()})" for party in record.parties)
    rounds, batch = render_count(record.rounds, "round"), render_count(record.batch_size, "row")
    return "\n".join(
        [
            f"# Split training {record.namespace}/{record.name}",
            "",
            f"{record.topology}, {record.schedule}, {rounds}, batches of {batch}.",
            f"Parties: {names}.",
        ]
    )


def _render_outcome(record: RunRecord) -> str:
    outcome = record.outcome
    elapsed = render_duration(record.elapsed_milliseconds / 1000)
    if outcome.exit_code == 0:
        lines = [f"**Succeeded** in {elapsed}.{_render_kept(record)}"]
    else:
        where = f" at {outcome.party}" if outcome.party else ""
        lines = [f"**Failed** after {elapsed}: {outcome.reason}{where} (exit code {outcome.exit_code})."]
        lines += ["", outcome.message] if outcome.message else []
        lines += ["", f"To do: {outcome.remedy}"] if outcome.remedy else []
    return "\n".join(["## Outcome", "", *lines, "", f"From {record.started_at} to {record.finished_at}."])


def _render_kept(record: RunRecord) -> str:
    server = next((report for report in record.reports if report.party == SERVER_PARTY), None)
    if server is None:
        return ""
    stopped = f" Early stopping ended it after round {server.round} of {server.rounds}." if server.stopped_early else ""
    kept = f" The result is the weights of round {server.kept_round}, the best one." if server.kept_round else ""
    return stopped + kept


def _render_parties(record: RunRecord) -> str:
    reports = {report.party: report for report in record.reports}
    rows = []
    for party in record.parties:
        report = reports.get(party.name)
        if report is None:
            rows.append([party.name, party.role.value, "never reported", "", "", "", ""])
            continue
        memory = render_size(report.peak_memory_bytes) if report.peak_memory_bytes else ""
        rows.append(
            [
                party.name,
                party.role.value,
                report.state.value,
                report.device,
                str(report.step),
                str(report.samples),
                memory,
            ]
        )
    header = ["party", "role", "state", "device", "steps", "rows trained", "peak memory"]
    return "## Parties\n\n" + render_table(header, rows)


def _render_traffic(record: RunRecord, metrics: MetricRows) -> str:
    expected = None
    if record.plan is not None:
        expected = compute_expected_payload(record.plan.wire_plan, metrics, batch_size=record.batch_size)
    traffic = compute_traffic(record.reports, expected)
    if not traffic:
        return ""
    header = ["link", "payload", "by the formula", "framing", "sealed", "control", "total"]
    rows = [_render_link(link) for link in traffic]
    counted = "trained and evaluated" if any(row.evaluated for row in metrics.rounds) else "trained"
    note = (
        f"Bytes. Payload is tensors and nothing else; the formula is the wire plan times the rows that were {counted}. "
        "Sealed blobs are readable by their receiver only, whoever relays them."
    )
    return f"## Bytes per link\n\n{render_table(header, rows)}\n\n{note}{_render_moved(record)}"


def _render_moved(record: RunRecord) -> str:
    moved = [[f"{sender} → {receiver}", str(size)] for (sender, receiver), size in list_moved(record.reports).items()]
    if not moved:
        return ""
    note = "Of the sealed blobs, what their two ends counted: weights, buffers, optimizer state and gradients."
    return f"\n\n{note}\n\n{render_table(['from → to', 'tensors'], moved)}"


def _render_link(link: LinkTraffic) -> list[str]:
    total = link.payload_bytes + link.framing_bytes + link.sealed_bytes + link.control_bytes
    expected = link.expected_payload_bytes
    return [
        f"{link.sender} → {link.receiver}",
        str(link.payload_bytes),
        "" if expected is None else str(expected),
        str(link.framing_bytes),
        str(link.sealed_bytes),
        str(link.control_bytes),
        render_size(total),
    ]


def _render_segments(plan: PlanReport | None) -> str:
    if plan is None:
        return ""
    segments = [
        [str(segment.stage), segment.owner, _render_layers(segment.layers), str(segment.num_parameters)]
        for segment in plan.segments
    ]
    text = "## Segments\n\n" + render_table(["stage", "owner", "layers", "parameters"], segments)
    if plan.wire_plan.values:
        header = ["value", "why", "type", "one row", "from", "to"]
        text += "\n\n" + render_table(header, list(_list_values(plan)))
    sentences = [f"- {sentence}" for sentence in (*plan.inexact, *plan.notes)]
    return "\n\n".join([text, "\n".join(sentences)]) if sentences else text


def _list_values(plan: PlanReport) -> Iterator[list[str]]:
    owners = [stage.owner for stage in plan.wire_plan.stages]
    for value in plan.wire_plan.values:
        consumers = dict.fromkeys(owners[stage] for stage in value.consumers)
        shape = " x ".join(str(size) for size in value.shape) or "one number"
        yield [value.name, value.source.value, value.dtype.value, shape, owners[value.producer], ", ".join(consumers)]


def _render_layers(layers: Sequence[str], *, shown: int = 6) -> str:
    text = ", ".join(layers[:shown])
    return text if len(layers) <= shown else f"{text} and {len(layers) - shown} more"


def _render_identity(record: RunRecord) -> str:
    rows = [["run", record.run_id], ["contract", record.contract_digest]]
    if record.plan is not None:
        rows.append(["wire plan", record.plan.wire_plan_digest])
    rows += [[name, version] for name, version in sorted(record.versions.items())]
    return "## What it ran on\n\n" + render_table(["what", "value"], rows)
