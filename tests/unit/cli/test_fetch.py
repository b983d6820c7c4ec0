"""Fetching what a party left: the pod that reads, what is checked, and that nothing stays behind."""

from __future__ import annotations

import argparse
import asyncio
import json
from io import StringIO

import pytest
import torch
from kubernetes_validate import validate

from splittraining.api.errors import ContractMismatch, ProtocolViolation, StorageFailed
from splittraining.api.results import MANIFEST_PATH, SEGMENTS_PATH
from splittraining.api.usage import ClusterFailed, UsageInvalid
from splittraining.cli.claims import Wanted, find_volume
from splittraining.cli.fetch_command import check_folder, fetch
from splittraining.cli.reader_pod import Volume, build_reader_pod, reader_pod
from splittraining.cli.result_check import check_result
from splittraining.cluster.errors import Forbidden, NotFound, build_error
from splittraining.cluster.resources import POD, SPLIT_PARTICIPATION, VOLUME_CLAIM
from splittraining.party.training.results import build_manifest, write_result
from support.api_objects import NAME, NAMESPACE, TRAINING_UID, child_name, make_child, make_participation, make_training
from support.cluster_api import STDOUT, PretendedCluster, forbid

CONTRACT = "sha256:" + "c" * 64
IMAGE = "registry.example/party:0.1.0"
PARTY = "st-mary"


class Silent:
    """Shows nothing."""

    def announce(self, total):
        self.total = total

    def advance(self, count):
        pass


def write_weights(volume, *, party=PARTY, contract=CONTRACT):
    tensors = {"layer1.weight": torch.arange(6.0).reshape(2, 3), "layer1.bias": torch.zeros(2), "empty": torch.zeros(0)}
    manifest = build_manifest(tensors, party=party, contract_digest=contract, generation=1, step=40)
    write_result(volume / "result", tensors, manifest)
    (volume / "log.jsonl").write_text('{"message": "finished"}\n')


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "volume"
    folder.mkdir()
    write_weights(folder)
    return folder


@pytest.fixture
def cluster(volume):
    return PretendedCluster(
        make_training(contractDigest=CONTRACT),
        make_participation(PARTY, image=IMAGE),
        make_child("v1", "PersistentVolumeClaim", PARTY),
        volume=volume,
    )


def run_fetch(cluster, folder, *, party=PARTY, image=""):
    wanted = Wanted(NAME, party, image)
    return asyncio.run(fetch(cluster, NAMESPACE, wanted=wanted, folder=folder, meter=Silent()))


def list_names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_that_nothing_is_left(cluster, folder):
    assert [POD.get_path(NAMESPACE, pod["metadata"]["name"]) for pod in cluster.made] == cluster.deleted
    assert not folder.exists()
    assert list(folder.parent.glob(".*part")) == []


def test_weights_and_log_are_fetched_and_checked_and_the_pod_is_gone(cluster, volume, tmp_path):
    folder = tmp_path / "runs" / NAME / PARTY
    lines = run_fetch(cluster, folder)
    assert list_names(folder) == ["log.jsonl", MANIFEST_PATH, SEGMENTS_PATH]
    assert (folder / SEGMENTS_PATH).read_bytes() == (volume / SEGMENTS_PATH).read_bytes()
    assert "Weights of st-mary: 3 tensors after step 40, as their manifest says" in lines
    assert lines[-1] == f"In {folder}"
    (pod,) = cluster.made
    assert pod["metadata"]["name"].startswith(f"{child_name(PARTY)}-fetch-")
    assert cluster.deleted == [POD.get_path(NAMESPACE, pod["metadata"]["name"])]


def test_an_empty_folder_is_filled(cluster, tmp_path):
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty")
    run_fetch(cluster, tmp_path / "empty")
    assert (tmp_path / "empty" / MANIFEST_PATH).is_file()


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_folder_that_holds_something_is_refused(tmp_path, kind):
    place = tmp_path / "there"
    if kind == "folder":
        place.mkdir()
        (place / "x").touch()
    elif kind == "file":
        place.touch()
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageInvalid, match=r"is there already\. Allowed: a new or empty folder"):
        check_folder(place)


def test_a_log_without_weights_is_fetched_and_said_to_be_one(cluster, volume, tmp_path):
    (volume / SEGMENTS_PATH).unlink()
    (volume / MANIFEST_PATH).unlink()
    assert "Weights of st-mary: none yet, they are written at the end of the training" in run_fetch(
        cluster, tmp_path / "to"
    )
    assert list_names(tmp_path / "to") == ["log.jsonl"]


def test_weights_without_a_manifest_are_left_out(cluster, volume, tmp_path):
    (volume / MANIFEST_PATH).unlink()
    assert any("left out, their manifest is missing" in line for line in run_fetch(cluster, tmp_path / "to"))
    assert list_names(tmp_path / "to") == ["log.jsonl"]


def test_an_empty_volume_is_said_to_be_empty(cluster, volume, tmp_path):
    for path in volume.rglob("*.*"):
        path.unlink()
    with pytest.raises(UsageInvalid, match="the volume of st-mary holds nothing yet"):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_weights_of_another_contract_are_refused_and_not_kept(cluster, volume, tmp_path):
    write_weights(volume, contract="sha256:" + "d" * 64)
    with pytest.raises(ContractMismatch, match=f"Allowed: {CONTRACT}"):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_a_transfer_that_is_cut_off_keeps_nothing(cluster, tmp_path):
    async def cut_off(messages):
        sent = b""
        async for _, data in messages:  # in whatever pieces they come
            sent += data
            announcement, newline, rest = sent.partition(b"\n")
            if newline and len(rest) >= 100:
                yield STDOUT, announcement + newline + rest[:100]
                return

    cluster.change_stream = cut_off
    with pytest.raises(ClusterFailed, match=r"the transfer ended 132 of 232 bytes before the end of result/segm"):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_what_the_reader_complains_of_is_told(cluster, volume, tmp_path):
    (volume / "plan.json").symlink_to("/etc/passwd")
    with pytest.raises(ClusterFailed, match=r"the reader said: plan\.json: Too many levels of symbolic links"):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_an_image_that_says_something_else_is_told_from_a_reader(cluster, tmp_path):
    async def greet(messages):
        yield 1, b"welcome to this image\n"
        async for message in messages:
            yield message

    cluster.change_stream = greet
    with pytest.raises(ProtocolViolation, match="where a JSON object belongs"):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_ctrl_c_in_the_middle_deletes_the_pod(cluster, tmp_path):
    started = asyncio.Event()

    async def stand_still(messages):
        started.set()
        await asyncio.Event().wait()
        async for message in messages:
            yield message

    cluster.change_stream = stand_still

    async def interrupt():
        wanted = Wanted(NAME, PARTY)
        task = asyncio.create_task(fetch(cluster, NAMESPACE, wanted=wanted, folder=tmp_path / "to", meter=Silent()))
        await started.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupt())
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_a_creation_that_was_given_up_is_cleaned_up_too(cluster, tmp_path):
    create = cluster.call

    async def create_and_lose(method, path, **rest):
        answer = await create(method, path, **rest)
        if method == "POST":
            raise build_error(f"POST {path}", 504, {"message": "timed out"})
        return answer

    cluster.call = create_and_lose
    with pytest.raises(Exception, match="timed out"):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def test_a_missing_right_to_exec_is_told_and_the_pod_is_gone(cluster, tmp_path):
    cluster.refusals["GET exec"] = forbid("create", "pods/exec")
    with pytest.raises(Forbidden):
        run_fetch(cluster, tmp_path / "to")
    assert_that_nothing_is_left(cluster, tmp_path / "to")


def open_reader(cluster, status, notices=None):
    cluster.pod_status = status
    clock = argparse.Namespace(now_s=0.0)

    async def sleep(seconds):
        clock.now_s += seconds

    async def use():
        volume = Volume(NAMESPACE, child_name(PARTY), IMAGE, TRAINING_UID, PARTY)
        async with reader_pod(
            cluster, volume, sleep=sleep, monotonic_s=lambda: clock.now_s, notices=notices or StringIO()
        ):
            pass

    asyncio.run(use())


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}}]},
            "cannot run with image registry.example/party:0.1.0: ErrImagePull: no such tag.*--image",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"reason": "StartError"}}}]},
            "cannot run .*StartError",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "cannot run .*Evicted: disk"),
        (
            {"phase": "Pending", "conditions": [{"status": "False", "message": "node(s) had volume node affinity"}]},
            "does not run after 120 s: node.s. had volume node affinity.*when it has ended",
        ),
        ({"phase": "Pending"}, "does not run after 120 s: no reason is given yet"),
    ],
)
def test_a_reader_that_does_not_come_to_run_says_why_and_is_gone(cluster, status, said):
    with pytest.raises(ClusterFailed, match=said):
        open_reader(cluster, status)
    assert len(cluster.deleted) == 1


def test_a_pod_that_cannot_be_deleted_is_named(cluster):
    cluster.refuse("DELETE", POD, forbid("delete", "pods"))
    notices = StringIO()
    open_reader(cluster, cluster.pod_status, notices)
    assert f"kubectl delete pod {child_name(PARTY)}-fetch-" in notices.getvalue()
    assert "ends by itself within 60 min" in notices.getvalue()


def test_a_pod_that_is_gone_already_is_no_trouble(cluster):
    cluster.refuse("DELETE", POD, NotFound("DELETE", "404"))
    notices = StringIO()
    open_reader(cluster, cluster.pod_status, notices)
    assert notices.getvalue() == ""


A_VOLUME = Volume(
    namespace=NAMESPACE,
    claim="c" * 49,
    image=IMAGE,
    training_uid=TRAINING_UID,
    party=PARTY,
    owner=NAME,
    pull_secrets=("registry",),
    node_selector={"gpu": "a100"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
)


def test_the_pod_is_one_that_kubernetes_knows_with_a_name_that_fits():
    pod = build_reader_pod(A_VOLUME, token="abcdef")
    validate(pod, "1.35", strict=True)
    assert len(pod["metadata"]["name"]) <= 63
    assert pod["metadata"]["ownerReferences"] == [
        {"apiVersion": "splitlearning.dev/v1alpha1", "kind": "SplitTraining", "name": NAME, "uid": TRAINING_UID}
    ]


def test_the_pod_is_restricted_has_no_token_and_ends_by_itself():
    spec = build_reader_pod(A_VOLUME, token="abcdef")["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 3600
    assert [mount["readOnly"] for mount in container["volumeMounts"]] == [True]


def test_the_pod_goes_where_the_partys_volume_is_and_takes_no_gpu():
    spec = build_reader_pod(A_VOLUME, token="abcdef")["spec"]
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert spec["nodeSelector"] == {"gpu": "a100"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert set(spec["containers"][0]["resources"]["limits"]) == {"cpu", "memory"}


def test_the_operator_and_its_policies_never_take_the_pod_for_a_partys():
    labels = build_reader_pod(A_VOLUME, token="abcdef")["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] != "splittraining"
    assert not any(name.startswith("splitlearning.dev/") for name in labels)


def find(cluster, party=PARTY, image="", notices=None):
    return asyncio.run(find_volume(cluster, NAMESPACE, Wanted(NAME, party, image), notices=notices or StringIO()))


def test_image_and_scheduling_are_the_partys_own(cluster):
    training = make_training(contractDigest=CONTRACT)
    training["spec"]["clients"][0]["pod"] = {"nodeSelector": {"gpu": "a100"}, "tolerations": [{"operator": "Exists"}]}
    training["spec"]["imagePullSecrets"] = [{"name": "registry"}]
    cluster.add(training)
    found = find(cluster)
    assert found.contract_digest == CONTRACT
    assert found.volume == Volume(
        NAMESPACE,
        child_name(PARTY),
        IMAGE,
        TRAINING_UID,
        PARTY,
        owner=NAME,
        pull_secrets=("registry",),
        node_selector={"gpu": "a100"},
        tolerations=({"operator": "Exists"},),
    )


def test_a_party_that_is_none_is_refused(cluster):
    with pytest.raises(UsageInvalid, match="has no party st-anne"):
        find(cluster, "st-anne")


def test_a_party_without_a_volume_yet_is_told_from_one_that_may_not_be_seen(cluster):
    del cluster.objects[VOLUME_CLAIM.get_path(NAMESPACE, child_name(PARTY))]
    with pytest.raises(UsageInvalid, match="st-mary has no output volume: there is no claim"):
        find(cluster)
    cluster.refuse("GET", VOLUME_CLAIM, forbid("get", "persistentvolumeclaims"))
    assert find(cluster).volume.claim == child_name(PARTY)


def test_an_image_that_is_not_known_must_be_named(cluster):
    del cluster.objects[SPLIT_PARTICIPATION.get_path(NAMESPACE, child_name(PARTY))]
    with pytest.raises(UsageInvalid, match=r"name an image that has python3 with --image"):
        find(cluster)
    assert find(cluster, image="python:3.12").volume.image == "python:3.12"


def make_kept(uid, created):
    claim = make_child("v1", "PersistentVolumeClaim", PARTY, name=f"kept-{uid}")
    claim["metadata"]["labels"]["splitlearning.dev/training-uid"] = uid
    claim["metadata"]["creationTimestamp"] = created
    return claim


def test_of_a_training_that_is_gone_the_newest_kept_volume_is_read():
    cluster = PretendedCluster(make_kept("b", "2026-02-01T00:00:00Z"), make_kept("a", "2026-01-01T00:00:00Z"))
    with pytest.raises(UsageInvalid, match=r"was kept \(claim kept-b\).*--image"):
        find(cluster)
    notices = StringIO()
    found = find(cluster, image="python:3.12", notices=notices)
    assert (found.volume.claim, found.volume.training_uid, found.volume.owner) == ("kept-b", "b", "")
    assert found.contract_digest == ""
    assert notices.getvalue() == "note: chest-xray is gone; reading claim kept-b, the newest of 2\n"


def test_without_training_and_volume_the_training_is_what_is_missing():
    with pytest.raises(UsageInvalid, match="there is no SplitTraining chest-xray"):
        find(PretendedCluster())


def change(volume, path, edit):
    document = json.loads((volume / path).read_text())
    edit(document)
    (volume / path).write_text(json.dumps(document))


def test_the_check_passes_what_the_party_wrote(volume):
    manifest = check_result(volume, party=PARTY, contract_digest=CONTRACT)
    assert (manifest.step, len(manifest.tensors)) == (40, 3)


def test_a_manifest_of_a_newer_party_can_be_read(volume):
    change(volume, MANIFEST_PATH, lambda document: document.update(flavour="new"))
    assert check_result(volume, party=PARTY, contract_digest=CONTRACT) is not None


def test_weights_of_another_party_are_refused(volume):
    with pytest.raises(ContractMismatch, match=r"those of st-mary\. Allowed: those of server"):
        check_result(volume, party="server", contract_digest=CONTRACT)


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document["tensors"].pop("layer1.bias"),
        lambda document: document["tensors"].update(other="sha256:0"),
        lambda document: document["tensors"].update({"layer1.bias": "sha256:" + "0" * 64}),
    ],
    ids=["one less", "one more", "another digest"],
)
def test_tensors_that_are_not_those_of_the_manifest_are_refused(volume, edit):
    change(volume, MANIFEST_PATH, edit)
    with pytest.raises(StorageFailed, match="tensors are not those of the manifest"):
        check_result(volume, party=PARTY, contract_digest=CONTRACT)


def frame(header) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        (1 << 62).to_bytes(8, "little") + b"{}",
        frame(b"[1]"),
        frame(b"{"),
        frame(b"[" * 50_000),
        frame({"x": 1}),
        frame({"x": {"data_offsets": [0, 9]}}),
        frame({"x": {"data_offsets": [-1, 0]}}),
        frame({"x": {"data_offsets": [1, 0]}}),
        frame({"x": {"data_offsets": "00"}}),
        frame({"x": {"data_offsets": [0.0, 0.0]}}),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_a_file_that_holds_no_tensors_is_refused(volume, data):
    (volume / SEGMENTS_PATH).write_bytes(data)
    with pytest.raises(StorageFailed, match="the party's result is damaged"):
        check_result(volume, party=PARTY, contract_digest=CONTRACT)


def test_a_manifest_that_is_none_is_refused(volume):
    (volume / MANIFEST_PATH).write_text("{}")
    with pytest.raises(StorageFailed, match="the manifest is none: party: Field required"):
        check_result(volume, party=PARTY, contract_digest=CONTRACT)
