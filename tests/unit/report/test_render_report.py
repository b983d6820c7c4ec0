import re

import pytest

from splittraining.api.report import LinkBytes
from splittraining.report.curves import compute_mean_loss
from splittraining.report.markdown import (
    render_count,
    render_duration,
    render_number,
    render_size,
    render_table,
    sample_rows,
)
from splittraining.report.metrics import MetricRows, StepRow, parse_metric_lines
from splittraining.report.record import RunRecord
from splittraining.report.render import render_report
from splittraining.report.traffic import compute_expected_payload, compute_traffic
from support.report_support import (
    BATCH_SIZE,
    build_metric_lines,
    build_plan_report,
    build_record,
    build_reports,
    build_wire_plan,
)


@pytest.fixture
def metrics() -> MetricRows:
    return parse_metric_lines([build_metric_lines()])


def test_a_record_survives_its_file():
    record = build_record()
    assert RunRecord.model_validate_json(record.model_dump_json(by_alias=True)) == record


def test_the_formula_equals_the_bytes_of_a_run_with_short_batches_and_unequal_clients(metrics):
    expected = compute_expected_payload(build_wire_plan(), metrics, batch_size=BATCH_SIZE)
    traffic = compute_traffic(build_reports(), expected)
    assert {(row.sender, row.receiver) for row in traffic} == {
        ("server", "st-mary"),
        ("server", "st-luke"),
        ("st-mary", "server"),
        ("st-luke", "server"),
    }
    for row in traffic:
        assert row.payload_bytes == row.expected_payload_bytes


def test_a_sender_that_never_reported_is_read_from_its_receivers_side():
    server = build_reports()[0]
    sent = {(row.sender, row.receiver): row for row in compute_traffic([server], None)}
    assert sent["st-mary", "server"].payload_bytes == server.links[0].payload_received
    assert sent["st-mary", "server"].expected_payload_bytes is None


def test_what_moved_sealed_is_told_from_whom_to_whom_whichever_of_the_two_reported(metrics):
    mary = build_reports()[1]
    links = (*mary.links, LinkBytes(peer="st-luke", moved_sent=780, moved_received=1560))
    record = build_record(reports=(mary.model_copy(update={"links": links}),))
    text = render_report(record, metrics)
    assert re.search(r"^\| st-mary → st-luke \| +780 \|$", text, re.MULTILINE)
    assert re.search(r"^\| st-luke → st-mary \| +1560 \|$", text, re.MULTILINE)
    assert "from → to" not in render_report(build_record(), metrics)


def test_a_line_that_a_killed_party_left_half_written_is_left_out():
    lines = [*build_metric_lines(), '{"kind": "step", "st', "[1]", ""]
    assert len(parse_metric_lines([lines]).steps) == 6


def test_the_rows_of_several_parties_are_put_in_order_of_steps():
    lines = build_metric_lines()
    assert parse_metric_lines([lines[3:], lines[:3]]) == parse_metric_lines([lines])


def test_a_short_batch_counts_for_its_rows_in_the_mean():
    assert compute_mean_loss([StepRow(1, 1, 1.0, 3), StepRow(2, 1, 5.0, 1)]) == 2.0


def test_a_long_curve_is_a_dozen_rows_with_both_ends():
    sampled = sample_rows(range(1000))
    assert (len(sampled), sampled[0], sampled[-1]) == (12, 0, 999)
    assert sampled == sorted(set(sampled))


def test_a_long_training_says_how_much_is_not_shown(metrics):
    many = MetricRows(rounds=metrics.rounds[:1] * 40)
    assert "12 of 40 rounds are shown" in render_report(build_record(), many)


def test_a_cell_cannot_break_the_table():
    assert render_table(["a"], [["x|y\nz"]]).splitlines()[2] == "| x\\|y z |"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (render_number(0.0), "0.0000"),
        (render_number(0.91234), "0.9123"),
        (render_number(1.5e-7), "1.50000e-07"),
        (render_number(float("nan")), "nan"),
        (render_number(None), ""),
        (render_count(1, "round"), "1 round"),
        (render_count(12, "round"), "12 rounds"),
        (render_size(0), "0 B"),
        (render_size(1023), "1023 B"),
        (render_size(1536), "1.5 KiB"),
        (render_size(3 * 2**30), "3.00 GiB"),
        (render_duration(7.44), "7.4 s"),
        (render_duration(192), "3 min 12 s"),
        (render_duration(7505), "2 h 5 min"),
    ],
)
def test_numbers_read_as_a_person_writes_them(text, expected):
    assert text == expected


def test_the_plan_of_the_support_is_a_valid_one():
    assert build_plan_report().wire_plan.compute_link_bytes(2) == {("client", "server"): 40, ("server", "client"): 24}
