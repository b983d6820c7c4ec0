from splittraining.api.resource import parse_split_training
from splittraining.cli.cost_text import render_costs
from support.builders import a_vertical_training
from support.local_support import build_manifest_document
from support.report_support import CUT_BYTES, LABEL_BYTES, build_plan_report

ROWS, TEST_ROWS = {"st-mary": 6, "st-luke": 3}, {"st-mary": 5, "st-luke": 0}


def build():
    return parse_split_training(build_manifest_document(clients=("st-mary", "st-luke"), batch_size=4))


def list_cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]


def test_every_client_has_its_bytes_of_a_round_each_kind_apart():
    cells = list_cells(render_costs(build_plan_report(), build(), ROWS, TEST_ROWS))
    training, labels, evaluation = 2 * 6 * CUT_BYTES, 6 * LABEL_BYTES, 5 * (CUT_BYTES + LABEL_BYTES)
    sizes = [f"{size} ({size} B)" for size in (training, labels, evaluation)]
    assert ["st-mary", *sizes, "1560 (1.5 KiB)"] in cells


def test_federated_averaging_and_large_batches_stand_beside_with_the_break_even():
    text = render_costs(build_plan_report(), build(), ROWS, TEST_ROWS)
    assert ["federated averaging", "2·N a round", "1624 (1.6 KiB)"] in list_cells(text)
    assert ["large-batch synchronous SGD", "2·N a step", "3248 (3.2 KiB)"] in list_cells(text)
    assert "p·q < K·N·(1 − η/2): p·q = 108 B, K·N·(1 − η/2) = 844 B, so splitting moves fewer" in text


def test_what_depends_on_rows_says_so():
    text = render_costs(build_plan_report(), build(), {}, {})
    assert ["st-luke", "not known", "not known", "not known", "1560 (1.5 KiB)"] in list_cells(text)
    assert "name the folders with --volume" in text


def test_where_rows_are_split_by_columns_nothing_could_be_averaged():
    text = render_costs(build_plan_report(), a_vertical_training().build(), {}, {})
    assert "are no alternatives here" in text
    assert "federated averaging |" not in text
