"""Reports from a run's record and metrics. A folder `report-of-…` holds `input.json`, `metrics.jsonl`, `output.md`."""

import os
from pathlib import Path

import pytest

from splittraining.report.metrics import parse_metric_lines
from splittraining.report.record import RunRecord
from splittraining.report.render import render_report

CASES = sorted(Path(__file__).parent.glob("report-of-*"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_report_is_what_was_agreed_on(case: Path):
    record = RunRecord.model_validate_json((case / "input.json").read_bytes())
    metrics = parse_metric_lines([(case / "metrics.jsonl").read_text().splitlines()])
    rendered = render_report(record, metrics)
    if os.environ.get("SPLITTRAINING_UPDATE_GOLDEN"):
        (case / "output.md").write_text(rendered)
    assert rendered == (case / "output.md").read_text()
