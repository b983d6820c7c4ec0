from splittraining.api.resource import parse_split_training
from splittraining.cli.cost_text import render_costs
from support.builders import a_vertical_training
from support.local_support import build_manifest_document
from support.report_support import CUT_BYTES, LABEL_BYTES, build_plan_report

PARAMETER_BYTES = 195 * 4
ROWS, TEST_ROWS = {"st-mary": 6, "st-luke": 3}, {"st-mary": 5, "st-luke": 0}


def build():
    return parse_split_training(build_manifest_document(clients=("st-mary", "st-luke"), batch_size=4))


def list_cells(text):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]


def test_every_client_has_its_bytes_of_a_round_each_kind_apart():
    cells = list_cells(render_costs(build_plan_report(), build(), ROWS, TEST_ROWS))
    training, labels, evaluation = 2 * 6 * CUT_BYTES, 6 * LABEL_BYTES, 5 * (CUT_BYTES + LABEL_BYTES)
    training, labels, evaluation, weights = (
        f"{size} ({size} B)" for size in (training, labels, evaluation, PARAMETER_BYTES)
    )
    assert ["st-mary", training, labels, "1560 (1.5 KiB)", evaluation, weights] in cells


def test_federated_averaging_and_large_batches_stand_beside_with_the_break_even():
    text = render_costs(build_plan_report(), build(), ROWS, TEST_ROWS)
    assert ["federated averaging", "2·N a round", "1624 (1.6 KiB)"] in list_cells(text)
    assert ["large-batch synchronous SGD", "2·N a step", "3248 (3.2 KiB)"] in list_cells(text)
    assert "p·q < K·N·(1 − η/2): p·q = 108 B, K·N·(1 − η/2) = 844 B, so splitting moves fewer" in text


def test_what_depends_on_rows_says_so():
    text = render_costs(build_plan_report(), build(), {}, {})
    # That this manifest names no test file is known, and so that nobody needs weights for an evaluation.
    assert ["st-luke", "not known", "not known", "1560 (1.5 KiB)", "not known", "0 (0 B)"] in list_cells(text)
    assert "name the folders with --volume" in text


def test_where_rows_are_split_by_columns_nothing_could_be_averaged():
    text = render_costs(build_plan_report(), a_vertical_training().build(), {}, {})
    assert "are no alternatives here" in text
    assert "federated averaging |" not in text


def read_moved(text):
    return {row[0]: row[3] for row in list_cells(text) if row[0].startswith("st-")}


def build_scheduled(mode, **member):
    document = build_manifest_document(clients=("st-mary", "st-luke"), batch_size=4)
    document["spec"]["schedule"] = {"mode": mode, mode[0].lower() + mode[1:]: member}
    return parse_split_training(document)


def test_summed_gradients_cost_each_step_in_which_a_client_has_rows_and_more_at_the_averaging_client():
    text = render_costs(build_plan_report(), build_scheduled("Parallel"), ROWS, TEST_ROWS)
    # Two steps, st-luke has rows in one of them.
    gradients = f"{3 * PARAMETER_BYTES} (2.3 KiB)"
    assert read_moved(text) == {"st-mary": gradients, "st-luke": gradients}
    assert "Gradients are 2·η·N a step, at st-mary once for each other client; N parameters" in text


def test_a_global_batch_says_that_its_bytes_are_a_bound():
    training = build_scheduled("Parallel", batch="Global", averaging={"at": "Server"})
    text = render_costs(build_plan_report(), training, ROWS, TEST_ROWS)
    assert "2·η·N a step at most: a client sends nothing in steps to which it brings no rows" in text
    # Three steps, and each client could have rows in all of them.
    assert read_moved(text)["st-luke"] == f"{6 * PARAMETER_BYTES} (4.6 KiB)"


def test_averages_cost_the_weights_both_ways_and_private_ones_nothing():
    averaged = render_costs(build_plan_report(), build_scheduled("SplitFed"), ROWS, TEST_ROWS)
    assert "averages" in list_cells(averaged)[0]
    assert read_moved(averaged)["st-luke"] == f"{2 * PARAMETER_BYTES} (1.5 KiB)"
    private = render_costs(build_plan_report(), build_scheduled("SplitFed", clientPolicy="Private"), {}, {})
    assert read_moved(private)["st-luke"] == "0 (0 B)"
    assert "Averages are" not in private
