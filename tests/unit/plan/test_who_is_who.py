"""Roles, label holders, devices, and what travels between whom."""

from __future__ import annotations

import pytest

from splittraining.api.contract import Cargo, Role
from splittraining.api.spec.server import Device
from splittraining.plan.topology import (
    build_links,
    decide_device,
    find_label_holders,
    get_data,
    get_role,
    list_parties,
)
from support.builders import (
    TrainingBuilder,
    a_multi_hop_training,
    a_multi_task_training,
    a_training,
    a_u_shaped_training,
    a_vanilla_training,
    a_vertical_training,
    an_extended_training,
    make_data,
)

GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}

NO_GPU = {"resources": {"limits": {"nvidia.com/gpu": "0"}}}

UP = {Cargo.ACTIVATIONS}

DOWN = {Cargo.GRADIENTS}

BOTH_WAYS = {Cargo.ACTIVATIONS, Cargo.GRADIENTS}

SECRET = {Cargo.CLIENT_SECRET}

HAND_OFF = {Cargo.HAND_OFF}


def list_cargo(training: TrainingBuilder) -> dict[tuple[str, str], set[Cargo]]:
    links = build_links(training.build().spec)
    assert len({(link.sender, link.receiver) for link in links}) == len(links)
    return {(link.sender, link.receiver): set(link.cargo) for link in links}


def a_labeled_server() -> TrainingBuilder:
    return a_vertical_training().without("spec.clients.2").with_server(data=make_data(label="malignant", ids="id"))


def test_the_server_comes_first_and_clients_keep_their_order():
    spec = a_training().with_client("zebra").with_client("ant").build().spec
    assert list_parties(spec) == ("server", "zebra", "ant")
    assert [get_role(party) for party in list_parties(spec)] == [Role.SERVER, Role.CLIENT, Role.CLIENT]


def test_a_party_holds_its_own_data_and_the_server_of_a_vanilla_training_none():
    spec = a_vertical_training().build().spec
    data = get_data(spec, "pathology")
    assert data is not None
    assert data.inputs[0].name == "worst"
    assert get_data(spec, "server") is None


@pytest.mark.parametrize(
    ("training", "holders"),
    [
        (a_vanilla_training(), ("st-mary", "st-luke")),
        (a_u_shaped_training(), ("clinic",)),
        (a_vertical_training(), ("registry",)),
        (a_labeled_server(), ("server",)),
    ],
    ids=["Vanilla", "UShaped", "Vertical", "Vertical with labels at the server"],
)
def test_who_holds_labels_is_who_names_label_columns(training: TrainingBuilder, holders: tuple[str, ...]):
    assert find_label_holders(training.build().spec) == holders


@pytest.mark.parametrize(
    ("fields", "device"),
    [
        ({}, Device.CPU),
        ({"pod": GPU}, Device.CUDA),
        ({"pod": NO_GPU}, Device.CPU),
        ({"pod": GPU, "device": "CPU"}, Device.CPU),
        ({"device": "CUDA"}, Device.CUDA),
    ],
    ids=["nothing said", "a GPU asked for", "no GPU asked for", "CPU in spite of a GPU", "CUDA without asking"],
)
def test_a_party_computes_where_it_says_or_else_on_the_gpu_that_it_asks_for(fields: dict[str, object], device: Device):
    spec = a_training().with_client("st-mary", **fields).with_server(**fields).build().spec
    assert decide_device(spec, "st-mary") is device
    assert decide_device(spec, "server") is device


def test_in_vanilla_labels_travel_up_and_clients_hand_on_what_only_they_can_read():
    assert list_cargo(a_vanilla_training()) == {
        ("st-mary", "server"): {Cargo.ACTIVATIONS, Cargo.LABELS},
        ("server", "st-mary"): DOWN,
        ("st-luke", "server"): {Cargo.ACTIVATIONS, Cargo.LABELS},
        ("server", "st-luke"): DOWN,
        ("st-mary", "st-luke"): SECRET | HAND_OFF,
        ("st-luke", "st-mary"): HAND_OFF,
    }


def test_without_a_hand_off_only_the_first_client_tells_the_others_the_secret():
    links = list_cargo(a_vanilla_training().with_value("spec.schedule.sequential.handoff", "None"))
    assert links["st-mary", "st-luke"] == SECRET
    assert ("st-luke", "st-mary") not in links


def test_from_client_to_client_a_hand_off_goes_to_the_next_client_alone():
    three = a_vanilla_training().with_client("st-anne")
    links = list_cargo(three.with_value("spec.schedule.sequential.handoff", "PeerToPeer"))
    between_clients = {pair: cargo for pair, cargo in links.items() if "server" not in pair}
    assert between_clients == {
        ("st-mary", "st-luke"): SECRET | HAND_OFF,
        ("st-mary", "st-anne"): SECRET,
        ("st-luke", "st-anne"): HAND_OFF,
        ("st-anne", "st-mary"): HAND_OFF,
    }


def test_in_a_u_shape_no_label_travels():
    assert list_cargo(a_u_shaped_training()) == {("clinic", "server"): BOTH_WAYS, ("server", "clinic"): BOTH_WAYS}


def test_in_vertical_branches_send_up_and_who_has_the_labels_gets_the_output():
    assert list_cargo(a_vertical_training()) == {
        ("imaging", "server"): UP,
        ("server", "imaging"): DOWN,
        ("pathology", "server"): UP,
        ("server", "pathology"): DOWN,
        ("registry", "server"): {Cargo.GRADIENTS},
        ("server", "registry"): {Cargo.ACTIVATIONS},
        ("imaging", "pathology"): SECRET,
        ("imaging", "registry"): SECRET,
    }


def test_in_vertical_a_branch_that_has_the_labels_sends_and_gets_both():
    links = list_cargo(
        a_vertical_training().without("spec.clients.2").with_value("spec.clients.1.data.label", {"columns": ["y"]})
    )
    assert (links["pathology", "server"], links["server", "pathology"]) == (BOTH_WAYS, BOTH_WAYS)
    assert (links["imaging", "server"], links["server", "imaging"]) == (UP, DOWN)


def test_in_multi_task_each_label_party_gets_what_the_trunk_returns_and_sends_gradients_to_the_server_alone():
    assert list_cargo(a_multi_task_training()) == {
        ("imaging", "server"): UP,
        ("server", "imaging"): DOWN,
        ("oncology", "server"): {Cargo.GRADIENTS},
        ("server", "oncology"): {Cargo.ACTIVATIONS},
        ("surgery", "server"): {Cargo.GRADIENTS},
        ("server", "surgery"): {Cargo.ACTIVATIONS},
        ("imaging", "oncology"): SECRET,
        ("imaging", "surgery"): SECRET,
    }


def test_where_the_server_has_the_labels_they_do_not_travel():
    assert Cargo.LABELS not in set().union(*list_cargo(a_labeled_server()).values())


def test_a_server_with_labels_gets_the_key_of_row_ids_from_the_first_client_and_nothing_else_of_the_secret():
    links = list_cargo(a_labeled_server())
    assert [pair for pair, cargo in links.items() if Cargo.ROW_IDS_KEY in cargo] == [("imaging", "server")]
    assert not [pair for pair, cargo in links.items() if Cargo.CLIENT_SECRET in cargo and "server" in pair]


def test_in_a_chain_each_owner_sends_to_the_next_and_only_the_last_to_the_server():
    assert list_cargo(a_multi_hop_training()) == {
        ("clinic", "lab"): UP | SECRET,
        ("lab", "clinic"): DOWN,
        ("lab", "center"): UP,
        ("center", "lab"): DOWN,
        ("center", "server"): UP,
        ("server", "center"): DOWN,
        # The clinic has the labels: it gets the model's output and computes the loss.
        ("clinic", "server"): {Cargo.GRADIENTS},
        ("server", "clinic"): {Cargo.ACTIVATIONS},
        ("clinic", "center"): SECRET,
    }


def test_a_named_crossing_may_go_past_owners_of_a_chain():
    links = list_cargo(a_multi_hop_training().with_value("spec.model.extraCrossings", ["stem.0"]))
    assert links["clinic", "center"] == UP | SECRET
    assert links["center", "clinic"] == DOWN
    assert links["lab", "server"] == UP


def test_in_an_extended_training_branches_send_to_the_other_client_and_that_one_to_the_server():
    assert list_cargo(an_extended_training()) == {
        ("imaging", "center"): UP | SECRET,
        ("center", "imaging"): DOWN,
        ("pathology", "center"): UP,
        ("center", "pathology"): DOWN,
        ("center", "server"): UP,
        ("server", "center"): DOWN,
        ("registry", "server"): {Cargo.GRADIENTS},
        ("server", "registry"): {Cargo.ACTIVATIONS},
        ("imaging", "pathology"): SECRET,
        ("imaging", "registry"): SECRET,
    }


@pytest.mark.parametrize(
    ("schedule", "cargo"),
    [
        ({"mode": "Parallel", "parallel": {}}, Cargo.CLIENT_GRADIENTS),
        ({"mode": "SplitFed", "splitFed": {}}, Cargo.CLIENT_WEIGHTS),
    ],
    ids=["gradients in Parallel", "weights in SplitFed"],
)
def test_what_clients_sum_goes_to_the_first_of_them_and_back_or_to_the_server_where_it_says_so(
    schedule: dict[str, object], cargo: Cargo
):
    training = a_vanilla_training().with_value("spec.schedule", schedule)
    links = list_cargo(training)
    assert {pair for pair, carried in links.items() if cargo in carried} == {
        ("st-mary", "st-luke"),
        ("st-luke", "st-mary"),
    }
    member = f"spec.schedule.{list(schedule)[1]}"
    links = list_cargo(training.with_value(f"{member}.averaging", {"at": "Server"}))
    assert {pair for pair, carried in links.items() if cargo in carried} == {
        (sender, receiver)
        for pair in (("st-mary", "server"), ("st-luke", "server"))
        for sender, receiver in (pair, pair[::-1])
    }
    links = list_cargo(training.with_value(f"{member}.clientPolicy", "Private"))
    assert not [pair for pair, carried in links.items() if cargo in carried]
