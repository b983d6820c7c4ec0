"""What was trained in any topology and schedule predicts, and comes out whole.

Predictions equal the merged model, unsplit, on the same rows to the bit; an export has the merged model's very tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splittraining.api.usage import UsageInvalid
from splittraining.local.exporter import export_results, find_party_folders
from support.cases import Case, a_multi_hop_case, a_multi_task_case, an_extended_case
from support.local_support import build_launcher
from support.predicting import Trained, forward, forward_tasks, read, train, without_labels
from support.together_cases import a_parallel_case, a_split_fed_case, a_split_fed_u_shape

slow = pytest.mark.slow


def once(case: Case) -> Case:
    """Returns a copy of one round: what predicts needs weights, not good ones."""
    return without_labels(case.changed(lambda spec: spec.update(rounds=1)))


def export(trained: Trained, *, client: str = "") -> dict[str, torch.Tensor]:
    path = trained.run.folder / f"whole{client}.safetensors"
    report = export_results(find_party_folders(trained.run.folder), path, client=client, launcher=build_launcher())
    assert report.is_whole
    return load_file(path)


def assert_equal(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert given.keys() == expected.keys()
    assert [name for name in given if not torch.equal(given[name], expected[name])] == []


@pytest.mark.parametrize(
    ("case", "holder"),
    [
        pytest.param(a_multi_hop_case(skip=True), "registry", id="MultiHop, with a skip past a hop"),
        pytest.param(a_multi_hop_case(label_at="server"), "server", id="MultiHop, labels at the server", marks=slow),
        pytest.param(a_multi_hop_case(label_at="clinic"), "clinic", id="MultiHop, labels at the first hop", marks=slow),
        pytest.param(an_extended_case(), "registry", id="ExtendedVanilla", marks=slow),
    ],
)
def test_the_output_ends_at_the_label_holder_whoever_computes_on_the_way(
    case: Case, holder: str, tmp_path: Path
) -> None:
    trained = train(once(case), tmp_path)
    with_data = [client["name"] for client in case.spec["clients"] if "data" in client]
    with_data += ["server"] if "data" in case.spec["server"] else []
    result = trained.predict(rows=dict.fromkeys(with_data, "new.csv"))
    predicted = read(result, holder)
    assert result.record.files.keys() == {holder}
    (rows,) = case.test_rows
    whole = trained.merge(trained.list_owners())
    expected = forward(whole, rows.inputs, case.plan.batch_size)
    assert torch.equal(torch.from_numpy(predicted["output"]), expected)
    assert predicted["id"].tolist() == sorted(case.tables[holder]["test"]["id"].tolist())
    assert_equal(export(trained), whole.state_dict())
    # Who only computes on what comes by has no rows to name.
    with pytest.raises(UsageInvalid, match="--rows names center, which brings no rows"):
        trained.predict(rows={"center": "new.csv"})


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_multi_task_case(num_branches=2, num_tasks=3, at_a_branch=True), id="a head at a branch too"),
        pytest.param(a_multi_task_case(bare=True), id="a task without a head of its own", marks=slow),
    ],
)
def test_each_label_party_gets_its_own_tasks_outputs(case: Case, tmp_path: Path) -> None:
    trained = train(once(case), tmp_path)
    result = trained.predict(rows={client["name"]: "new.csv" for client in case.spec["clients"]})
    inputs = case.test_rows[0].inputs
    whole = trained.merge(trained.list_owners())
    expected = forward_tasks(whole, inputs, case.plan.batch_size)
    parties = {task["name"]: task["party"] for task in case.spec["tasks"]}
    assert result.record.files.keys() == set(parties.values())
    for task, party in parties.items():
        predicted = read(result, party)
        assert torch.equal(torch.from_numpy(predicted["output"]), expected[task]), task
        assert predicted["id"].tolist() == sorted(case.tables[party]["test"]["id"].tolist())
    # What an output means is said by the loss of the party's own task.
    assert read(result, parties["kind"])["class"].tolist() == expected["kind"].argmax(1).tolist()
    assert "class" not in read(result, parties["flag"])
    assert_equal(export(trained), whole.state_dict())
    with pytest.raises(UsageInvalid, match="no --client, since each of these parties owns other layers"):
        export(trained, client="lab")


def spec_of_mode(case: Case) -> dict[str, object]:
    schedule = case.spec["schedule"]
    (member,) = (schedule[name] for name in schedule if name != "mode")
    return member


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_split_fed_case(clientPolicy="Private"), id="SplitFed v3"),
        pytest.param(a_parallel_case(), id="Parallel, SumGradients", marks=slow),
        pytest.param(a_parallel_case(batch="Global", clientPolicy="Private"), id="Parallel, Private", marks=slow),
        pytest.param(a_split_fed_case(), id="SplitFed v1", marks=slow),
        pytest.param(a_split_fed_case(serverPolicy="Shared"), id="SplitFed v2", marks=slow),
        pytest.param(a_split_fed_u_shape(), id="SplitFed in a U-shape", marks=slow),
    ],
)
def test_clients_that_train_at_once_predict_each_with_the_weights_it_has(case: Case, tmp_path: Path) -> None:
    trained = train(once(case), tmp_path)
    result = trained.predict(rows={client["name"]: "new.npz" for client in case.spec["clients"]})
    assert result.record.files.keys() == {client["name"] for client in case.spec["clients"]}
    outputs = []
    for each in case.test_rows:
        predicted = read(result, each.client)
        outputs.append(forward(trained.merge([each.client]), each.inputs, case.plan.batch_size))
        assert torch.equal(torch.from_numpy(predicted["output"]), outputs[-1])
        assert predicted["row"].tolist() == list(range(len(each)))
    is_private = spec_of_mode(case).get("clientPolicy") == "Private"
    first, *others = [trained.run.read_segments(client["name"]) for client in case.spec["clients"]]
    are_equal = all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert are_equal != is_private, "the case does not show whose weights are whose"
    if is_private:
        with pytest.raises(UsageInvalid, match=r"north, south, west hold different values of .* --client north"):
            export(trained)
    assert_equal(export(trained, client="south" if is_private else ""), trained.merge(["south"]).state_dict())
