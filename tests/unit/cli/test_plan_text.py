import pytest

from splittraining.api.resource import parse_split_training
from splittraining.api.wire_plan import Stage
from splittraining.cli.plan_text import compute_round_bytes, render_plan
from support.builders import a_multi_hop_training
from support.local_support import build_manifest_document
from support.report_support import CUT_BYTES, LABEL_BYTES, build_plan_report, build_wire_plan

UP, DOWN = CUT_BYTES + LABEL_BYTES, CUT_BYTES


def build(**schedule):
    return parse_split_training(build_manifest_document(clients=("st-mary", "st-luke"), batch_size=4, **schedule))


def test_a_plan_names_owners_values_and_bytes_of_a_step():
    text = render_plan(build_plan_report(), build(), {}, {})
    for part in ("client", "head, head.out", "195", "4 x 3", "Float32", str(4 * UP), str(4 * DOWN), "sha256:"):
        assert part in text
    assert "exact: equal to the unsplit model" in text
    assert "aux.weight is used by no stage" in text
    assert "the rows of st-mary, st-luke are not known here" in text


def test_what_is_not_exact_is_said():
    report = build_plan_report().model_copy(update={"inexact": ("head uses a fused kernel",)})
    text = render_plan(report, build(), {}, {})
    assert "inexact: head uses a fused kernel" in text
    assert "exact: equal" not in text


def test_what_institutions_consent_to_is_listed_by_digest():
    text = render_plan(build_plan_report(), build(), {}, {"contract": "sha256:c0", "own plan of st-mary": "sha256:a1"})
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.partition("Digests")[2].splitlines()]
    assert ["contract", "sha256:c0"] in lines
    assert ["own plan of st-mary", "sha256:a1"] in lines


def test_bytes_of_a_round_count_every_clients_rows_and_epochs():
    training = build(turn={"unit": "Epoch", "length": 2})
    assert compute_round_bytes(build_wire_plan(), training, {"st-mary": 6, "st-luke": 3}) == {
        ("st-mary", "server"): 2 * 6 * UP,
        ("server", "st-mary"): 2 * 6 * DOWN,
        ("st-luke", "server"): 2 * 3 * UP,
        ("server", "st-luke"): 2 * 3 * DOWN,
    }


def test_bytes_of_a_round_of_steps_need_no_rows():
    training = build(turn={"unit": "Steps", "length": 5})
    assert compute_round_bytes(build_wire_plan(), training, {})["st-luke", "server"] == 5 * 4 * UP


def test_a_turn_of_steps_that_ends_an_epoch_has_its_short_batch():
    training, rows = build(turn={"unit": "Steps", "length": 2}), {"st-mary": 10, "st-luke": 3}
    # st-mary's batches are of 4, 4 and 2 rows, over and over; st-luke's of 3.
    for round_number, trained in ((1, 8), (2, 2 + 4), (3, 4 + 2), (4, 8)):
        counted = compute_round_bytes(build_wire_plan(), training, rows, round_number)
        assert (counted["st-mary", "server"], counted["st-luke", "server"]) == (trained * UP, 6 * UP)
    assert compute_round_bytes(build_wire_plan(), training, rows)["st-mary", "server"] == 8 * UP
    assert "round of training, at most" in render_plan(build_plan_report(), training, rows, {})
    assert "at most" not in render_plan(build_plan_report(), build(), rows, {})


def test_bytes_of_a_round_are_not_guessed_while_a_clients_rows_are_unknown():
    assert compute_round_bytes(build_wire_plan(), build(), {"st-mary": 6}) is None


def test_in_a_chain_it_is_said_what_the_server_carries_and_whose_rows_are_missing():
    training = a_multi_hop_training().build()
    stages = tuple(Stage(index=index, owner=owner) for index, owner in enumerate(("clinic", "lab", "center", "server")))
    plan = build_wire_plan().model_copy(update={"stages": stages, "loss_stage": 3})
    report = build_plan_report().model_copy(update={"wire_plan": plan})
    text = render_plan(report, training, {}, {})
    assert "clinic → lab" in text
    assert "from client to client passes through the server, sealed" in text
    assert "the rows of clinic are not known here" in text
    assert "sealed" not in render_plan(build_plan_report(), build(), {}, {})


@pytest.mark.parametrize(
    ("mode", "member", "epochs"),
    [("Parallel", "parallel", 1), ("SplitFed", "splitFed", 3)],
    ids=["Parallel", "SplitFed"],
)
def test_bytes_of_a_round_in_which_all_train_count_every_clients_rows_and_local_epochs(mode, member, epochs):
    document = build_manifest_document(clients=("st-mary", "st-luke"), batch_size=4)
    document["spec"]["schedule"] = {"mode": mode, member: {"everyRounds": 3} if mode == "SplitFed" else {}}
    training = parse_split_training(document)
    assert compute_round_bytes(build_wire_plan(), training, {"st-mary": 6, "st-luke": 3}) == {
        ("st-mary", "server"): epochs * 6 * UP,
        ("server", "st-mary"): epochs * 6 * DOWN,
        ("st-luke", "server"): epochs * 3 * UP,
        ("server", "st-luke"): epochs * 3 * DOWN,
    }
    assert compute_round_bytes(build_wire_plan(), training, {"st-mary": 6}) is None
    text = render_plan(build_plan_report(), training, {}, {})
    assert "exact: the same bytes every time" in text
    assert "equal to the unsplit model, bit for bit" not in text


@pytest.mark.parametrize(
    ("policy", "told"),
    [("SumGradients", "equal to one large batch"), ("Private", "one top over a bottom of each client's own")],
)
def test_what_a_parallel_training_equals_depends_on_what_becomes_of_the_clients_gradients(policy, told):
    document = build_manifest_document(clients=("st-mary", "st-luke"))
    document["spec"]["schedule"] = {"mode": "Parallel", "parallel": {"clientPolicy": policy}}
    assert told in render_plan(build_plan_report(), parse_split_training(document), {}, {})
