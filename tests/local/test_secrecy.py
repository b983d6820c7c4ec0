"""What must stay with the clients reaches no message to the server, no file of its folder and not its memory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from splittraining.api.plan_report import PlanReport
from splittraining.api.wire_plan import Direction
from splittraining.party.training.client_secret import SECRET_BYTES, ClientSecret
from splittraining.party.wire.frame import CHUNK_BYTES, HEADER_BYTES, Flags, FrameType, parse_header
from splittraining.plan.environment import build_environment
from support.cases import Case, a_multi_hop_case, a_multi_task_case, a_u_shaped_case, a_vertical_case
from support.runs import FinishedRun, run_case
from support.spying import MEMORY, RECORDED, SpyLauncher, find_canaries, find_in_folder, make_known_bytes
from support.together_cases import scheduled

WHERE_IT_IS = ("north", "registry")
"""Clients whose own memory holds what the server's must not: the search is tried on them."""

LABEL_WIDTH = 6
"""Floats in a label: so many that their bytes cannot be in a memory by chance."""


def a_case_with_canaries() -> Case:
    """A U-shape with hand-offs whose labels are wide and whose first weights only the clients know."""
    case = a_u_shaped_case()
    generator = np.random.default_rng(77)
    for parts in case.tables.values():
        for table in parts.values():
            table["y"] = generator.uniform(size=(len(table["x"]), LABEL_WIDTH)).astype(np.float32)

    def widen(spec: dict) -> None:
        spec["model"]["arguments"] = {"num_outputs": str(LABEL_WIDTH)}
        spec["model"]["label"]["shape"] = [LABEL_WIDTH]
        spec["model"]["initialization"] = "ClientsOnly"
        spec["training"]["loss"] = {"name": "MSE"}
        spec["training"]["evaluation"]["metrics"] = []

    return case.changed(widen)


def a_joint_case_with_canaries() -> Case:
    """A Vertical training whose patients have names that are nowhere by chance."""
    case = a_vertical_case()
    for parts in case.tables.values():
        for table in parts.values():
            table["id"] = np.array([name_patient(each) for each in table["id"]])
    return case.changed(lambda spec: spec["model"].update(initialization="ClientsOnly"))


def a_multi_task_case_with_canaries() -> Case:
    """Three tasks, one of them with wide labels, over layers whose first weights only the clients know."""
    case = a_multi_task_case(num_tasks=3)
    generator = np.random.default_rng(78)
    columns = [f"size{number}" for number in range(LABEL_WIDTH)]
    for table in case.tables["registry"].values():
        del table["size"]
        table.update({name: generator.uniform(size=len(table["id"])).astype(np.float32) for name in columns})

    def widen(spec: dict) -> None:
        spec["model"]["arguments"]["numbers"] = str(LABEL_WIDTH)
        spec["model"]["initialization"] = "ClientsOnly"
        spec["tasks"][2]["label"]["shape"] = [LABEL_WIDTH]
        spec["clients"][-1]["data"]["label"]["columns"] = columns

    return case.changed(widen)


def name_patient(number: str) -> str:
    return f"{number}-{hashlib.sha256(number.encode()).hexdigest()[:12]}"


Observed = tuple[Case, FinishedRun, Path]


def observe(case: Case, folder: Path) -> Observed:
    environment = build_environment(intra_op_threads=1)
    launcher = SpyLauncher(folder / "seen", environment=environment, searched=("server", *WHERE_IT_IS))
    run = run_case(case, folder, launcher=launcher)
    assert run.outcome.exit_code == 0, run.outcome
    return case, run, folder / "seen"


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return observe(a_case_with_canaries(), tmp_path_factory.mktemp("observed"))


def list_canaries(case: Case, run: FinishedRun) -> list[tuple[str, bytes]]:
    table = case.tables["north"]["train"]
    return [
        ("a row of features", table["x"][0].tobytes()),
        ("another client's row of features", case.tables["south"]["train"]["x"][1].tobytes()),
        ("a label", table["y"][0].tobytes()),
        ("a test label", case.tables["south"]["test"]["y"][1].tobytes()),
        *list_secrets(),
        *list_weights(run, "south"),
    ]


def list_joint_canaries(case: Case, run: FinishedRun) -> list[tuple[str, bytes]]:
    lab = case.tables["lab"]["train"]
    row = np.stack([lab[column] for column in ("f0", "f1", "f2")], axis=1)[0]
    ids = [str(name).encode() for part in case.tables["registry"].values() for name in part["id"]]
    return [
        ("a row of features", row.tobytes()),
        *((f"patient {name.decode()}", name) for name in ids),
        *list_secrets(),
        *(weight for party in ("lab", "ward") for weight in list_weights(run, party)),
    ]


def list_secrets() -> list[tuple[str, bytes]]:
    secret = ClientSecret(make_known_bytes(SECRET_BYTES))
    return [
        ("the clients' secret", secret.secret),
        ("the seed of the clients' weights", secret.initialization_seed.to_bytes(8, "little")),
        ("the key of the row-id digests", secret.row_ids_key),
    ]


def list_weights(run: FinishedRun, party: str) -> list[tuple[str, bytes]]:
    weights = load_file(run.folder / party / "result" / "segments.safetensors")
    return [(f"client weight {name}", tensor.numpy().tobytes()[:24]) for name, tensor in weights.items()]


def list_long_weights(run: FinishedRun, party: str) -> list[tuple[str, bytes]]:
    """Lists the weights that are nowhere by chance: the bias of one number is four bytes, three of them in base64."""
    return [(name, canary) for name, canary in list_weights(run, party) if len(canary) >= LABEL_WIDTH * 4]


def with_text_forms(canaries: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Adds what a canary looks like in JSON and logs: hexadecimal, base64 from any position, a number's digits."""
    seed = ClientSecret(make_known_bytes(SECRET_BYTES)).initialization_seed
    forms = [*canaries, ("the seed in digits", str(seed).encode())]
    for name, canary in canaries:
        forms.append((f"{name} in hex", canary.hex().encode()))
        for skipped in range(3):
            whole = (len(canary) - skipped) // 3 * 3
            forms.append((f"{name} in base64", base64.b64encode(canary[skipped : skipped + whole])))
        if name.endswith(("features", "label")):
            forms.append((f"{name} in digits", repr(float(np.frombuffer(canary, np.float32)[0])).encode()))
    return forms


def test_the_server_receives_none_of_it(observed: Observed) -> None:
    case, run, seen = observed
    received = seen / "server" / RECORDED
    assert received.stat().st_size > 0
    assert find_canaries(received, with_text_forms(list_canaries(case, run))) == []


def test_the_servers_folder_holds_none_of_it(observed: Observed) -> None:
    case, run, _ = observed
    assert find_in_folder(run.folder / "server", with_text_forms(list_canaries(case, run))) == []


def test_the_servers_memory_holds_none_of_it_at_the_end(observed: Observed) -> None:
    case, run, seen = observed
    assert find_canaries(seen / "server" / MEMORY, list_canaries(case, run)) == []


def test_the_search_would_find_it_where_it_is(observed: Observed) -> None:
    case, run, seen = observed
    found = find_canaries(seen / "north" / MEMORY, list_canaries(case, run))
    assert {"a row of features", "a label"} <= set(found)
    own = load_file(run.folder / "server" / "result" / "segments.safetensors")
    servers = [(name, tensor.numpy().tobytes()[:24]) for name, tensor in own.items()]
    assert find_in_folder(run.folder / "server", servers)


@pytest.mark.slow  # one more run under observation
def test_in_a_joint_training_the_server_sees_no_patient_and_no_column(tmp_path: Path) -> None:
    case, run, seen = observe(a_joint_case_with_canaries(), tmp_path)
    canaries = list_joint_canaries(case, run)
    assert find_canaries(seen / "server" / RECORDED, with_text_forms(canaries)) == []
    assert find_in_folder(run.folder / "server", with_text_forms(canaries)) == []
    assert find_canaries(seen / "server" / MEMORY, canaries) == []
    assert [name for name in find_canaries(seen / "registry" / MEMORY, canaries) if name.startswith("patient ")]


@pytest.mark.slow  # one more run under observation
def test_labels_and_heads_of_a_task_stay_with_its_party(tmp_path: Path) -> None:
    case, run, seen = observe(a_multi_task_case_with_canaries(), tmp_path)
    table = case.tables["registry"]["train"]
    rows = np.stack([table[f"size{number}"] for number in range(LABEL_WIDTH)], axis=1)
    weights = {party: list_long_weights(run, party) for party in ("registry", "lab", "oncology", "surgery")}
    of_registry = [("a label", rows[0].tobytes()), ("another label", rows[7].tobytes()), *weights.pop("registry")]
    others = weights
    for party in ("server", "lab", "oncology", "surgery"):
        foreign = [*of_registry, *(weight for owner, own in others.items() if owner != party for weight in own)]
        assert find_canaries(seen / party / RECORDED, with_text_forms(foreign)) == [], party
        assert find_in_folder(run.folder / party, with_text_forms(foreign)) == [], party
    assert find_canaries(seen / "server" / MEMORY, [*of_registry, *(w for own in others.values() for w in own)]) == []
    # What a party gave back may have been written over: of many labels some are still there.
    labels = [(f"label {number}", row.tobytes()) for number, row in enumerate(rows)]
    assert find_canaries(seen / "registry" / MEMORY, labels)


HOPS = ("clinic", "lab", "center")


def compute_activations(case: Case, run: FinishedRun, layer: str) -> list[tuple[str, bytes]]:
    """Returns what a layer makes of the first test row with the weights at the end, as in the last evaluation."""
    model = case.build_model().eval()
    model.load_state_dict(run.merge_segments(["server", *HOPS]))
    made: list[torch.Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda _module, _given, output: made.append(output))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        model(**{name: tensor[: case.plan.batch_size] for name, tensor in case.test_rows[0].inputs.items()})
    torch.set_num_threads(threads)
    return [(f"activations of {layer}", made[0][0].numpy().tobytes())]


def list_received_values(recorded: bytes) -> set[tuple[int, bool]]:
    """Returns value id and direction of every tensor that can be read in what a party received."""
    found, start = set(), 0
    while start < len(recorded):
        size_bytes = int.from_bytes(recorded[start + 32 : start + 40], "little")
        index = int.from_bytes(recorded[start + 24 : start + 28], "little")
        chunk_bytes = min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES)
        header = parse_header(recorded[start : start + HEADER_BYTES + chunk_bytes])
        if header.type is FrameType.TENSOR:
            found.add((header.value_id, bool(header.flags & Flags.BACKWARD)))
        start += HEADER_BYTES + chunk_bytes
    return found


@pytest.mark.slow  # one more run under observation
def test_what_goes_from_hop_to_hop_is_nothing_to_the_server_that_carries_it(tmp_path: Path) -> None:
    case = a_multi_hop_case(label_at="clinic").changed(lambda spec: spec["model"].update(initialization="ClientsOnly"))
    case, run, seen = observe(case, tmp_path)
    row = case.rows[0].inputs["x"][0].numpy().tobytes()
    between = [*compute_activations(case, run, "first"), *compute_activations(case, run, "second")]
    weights = [weight for party in HOPS for weight in list_weights(run, party)]
    hidden = [("a row of features", row), *between, *list_secrets(), *weights]
    recorded = seen / "server" / RECORDED
    assert find_canaries(recorded, with_text_forms(hidden)) == []
    assert find_in_folder(run.folder / "server", with_text_forms(hidden)) == []
    assert find_canaries(seen / "server" / MEMORY, hidden) == []
    plan = PlanReport.model_validate(json.loads((run.folder / "server" / "plan.json").read_text("utf-8"))).wire_plan
    assert list_received_values(recorded.read_bytes()) == {
        (each.value.id, each.direction is Direction.BACKWARD)
        for each in plan.iterate_transfers(training=True)
        if each.receiver == "server"
    }
    # The search finds what the server may know: the next layer's result of the same numbers.
    assert find_canaries(recorded, compute_activations(case, run, "third"))


@pytest.mark.slow  # one more run under observation
def test_what_goes_from_client_to_client_passes_the_server_by(tmp_path: Path) -> None:
    case = a_case_with_canaries().changed(lambda spec: spec["schedule"]["sequential"].update(handoff="PeerToPeer"))
    case, run, seen = observe(case, tmp_path)
    canaries = list_canaries(case, run)
    assert find_canaries(seen / "server" / RECORDED, with_text_forms(canaries)) == []
    assert find_in_folder(run.folder / "server", with_text_forms(canaries)) == []
    assert find_canaries(seen / "server" / MEMORY, canaries) == []


def a_case_of_sums(mode: str, **member: object) -> Case:
    return scheduled(a_case_with_canaries(), mode, 2, **member)


def list_summed_canaries(run: FinishedRun) -> list[tuple[str, bytes]]:
    """What packed gradients and weights begin with, and what the clients' weights came to."""
    names = load_file(run.folder / "south" / "result" / "segments.safetensors")
    packed = [(f"a packed {name}", f'"{name}":{{"dtype"'.encode()) for name in names]
    return [*packed, *list_weights(run, "south"), *list_weights(run, "north"), *list_secrets()]


@pytest.mark.slow  # two more runs under observation
@pytest.mark.parametrize("mode", ["Parallel", "SplitFed"])
def test_what_a_client_sums_or_averages_for_all_stays_with_the_clients(mode: str, tmp_path: Path) -> None:
    _, run, seen = observe(a_case_of_sums(mode), tmp_path)
    canaries = list_summed_canaries(run)
    assert find_canaries(seen / "server" / RECORDED, canaries) == []
    assert find_in_folder(run.folder / "server", canaries) == []
    assert find_canaries(seen / "server" / MEMORY, canaries) == []
    assert [name for name in find_canaries(seen / "north" / MEMORY, canaries) if name.startswith("client weight")]


@pytest.mark.slow  # one more run under observation
def test_a_server_that_averages_has_the_clients_weights_and_writes_none_of_them(tmp_path: Path) -> None:
    _, run, seen = observe(a_case_of_sums("SplitFed", averaging={"at": "Server"}), tmp_path)
    canaries = list_summed_canaries(run)
    assert [name for name in find_canaries(seen / "server" / MEMORY, canaries) if name.startswith("a packed")]
    assert find_in_folder(run.folder / "server", canaries) == []
