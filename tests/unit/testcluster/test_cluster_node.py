"""What a test node is told: addresses that meet nobody's, names that rights hang on, and nothing of a dead cluster."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest
from cryptography import x509

from cluster.__main__ import main
from cluster.addresses import NUM_CLUSTERS, Addresses, choose_number
from cluster.certificates import Authority, Subject, write_kubeconfig
from cluster.client import find_path
from cluster.components import NodePlan, list_api_server, render_configs
from cluster.namespaces import Holder, list_controllers, make_cgroups, read_start_time, remove_cgroups
from cluster.node import find_cluster, list_clusters, take_down
from cluster.refusal import ClusterRefused
from cluster.volumes import build_claimed_volume


def test_no_address_of_a_cluster_is_one_of_another_and_all_are_reserved_for_tests():
    reserved, seen = ipaddress.ip_network("198.18.0.0/15"), []
    for number in range(NUM_CLUSTERS):
        addresses = Addresses(number)
        pods, services = ipaddress.ip_network(addresses.pods), ipaddress.ip_network(addresses.services)
        assert ipaddress.ip_address(addresses.api) in services
        assert ipaddress.ip_address(addresses.dns) in services
        seen += [ipaddress.ip_network(addresses.node), pods, services]
    assert all(network.subnet_of(reserved) for network in seen)
    assert not any(one.overlaps(other) for index, one in enumerate(seen) for other in seen[:index])


def test_a_cluster_takes_the_lowest_number_that_is_free_and_the_last_ones_are_refused():
    assert choose_number({0, 2}) == 1
    assert choose_number(set(range(NUM_CLUSTERS))) is None


def test_certificates_carry_the_names_that_rights_hang_on(tmp_path: Path):
    authority = Authority(tmp_path, "ca")
    authority.issue("kubelet", Subject("system:node:n", "system:nodes"), names=["n", "198.18.0.1"])
    certificate = x509.load_pem_x509_certificate((tmp_path / "kubelet.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["198.18.0.1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes()))


def test_keys_and_kubeconfigs_are_read_by_their_owner_alone(tmp_path: Path):
    Authority(tmp_path, "ca").issue("admin", Subject("admin", "system:masters"))
    write_kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", tmp_path, "admin")
    for name in ("ca.key", "admin.key", "kubeconfig"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_every_file_that_the_api_server_is_told_of_lies_in_the_clusters_own_folder(tmp_path: Path):
    plan = NodePlan("n", Addresses(3), tmp_path)
    paths = [word.split("=", 1)[1] for word in list_api_server(plan) if "=/" in word]
    assert paths
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)
    assert json.loads(render_configs(plan)["kubelet.json"])["clusterDNS"] == ["198.18.50.10"]


def test_a_process_is_known_by_its_start_time_too():
    alive = Holder(1, read_start_time(1))
    assert alive.lives()
    assert not Holder(1, "0" + alive.started).lives()


def test_a_machine_with_cgroup_v2_alone_is_told_what_to_do(tmp_path: Path):
    (tmp_path / "cgroup.controllers").touch()
    with pytest.raises(ClusterRefused, match="CLUSTER=kind"):
        list_controllers(tmp_path)


def test_cgroups_are_made_with_processors_and_removed_whole(tmp_path: Path):
    for controller in ("cpuset", "memory", "unified"):
        (tmp_path / controller).mkdir()
    for file in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / file).write_text("0-1\n")
    make_cgroups("splittraining-n", tmp_path)
    own = tmp_path / "cpuset" / "splittraining-n"
    assert (own / "cpuset.cpus").read_text() == "0-1\n"
    assert not (tmp_path / "unified" / "splittraining-n").exists()
    for file in own.iterdir():
        file.unlink()  # the kernel's own files go with their folder
    (tmp_path / "memory" / "splittraining-n" / "pods" / "inner").mkdir(parents=True)
    remove_cgroups("splittraining-n", tmp_path)
    assert list(tmp_path.rglob("splittraining-n")) == []


def a_dead_cluster(folder: Path, name: str) -> None:
    (folder / name / "logs").mkdir(parents=True)
    (folder / name / "logs" / "kubelet.log").write_text("why it died")
    state = {
        "name": name, "number": 0, "folder": str(folder / name), "port": 1,
        "holder": {"pid": 2**22 - 1, "started": "7"}, "forward": [2**22 - 1, "7"],
    }  # fmt: skip
    (folder / name / "cluster.json").write_text(json.dumps(state))


def test_a_dead_cluster_is_listed_as_dead_and_taking_it_down_keeps_the_logs_on_request(tmp_path: Path):
    a_dead_cluster(tmp_path, "n")
    assert [cluster.lives() for cluster in list_clusters(tmp_path)] == [False]
    take_down(tmp_path, "n", keep_logs=True)
    assert find_cluster(tmp_path, "n") is None
    assert (tmp_path / "n-logs" / "kubelet.log").read_text() == "why it died"
    assert list_clusters(tmp_path) == []


def test_taking_down_what_is_not_there_does_nothing(tmp_path: Path):
    take_down(tmp_path / "nowhere", "n")


def test_paths_of_objects_are_those_of_the_api():
    assert find_path({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}}) == (
        "/api/v1/namespaces/b/pods/a"
    )
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}}
    assert find_path(policy) == "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/a"


def test_a_claimed_volume_is_there_for_its_claim_alone():
    volume, claim = build_claimed_volume("trial", "xrays", "/data", "n")
    assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"] == "xrays"
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"] == "trial-xrays"


@pytest.mark.parametrize("name", ["-n", "Upper", "a" * 31, "a/b", ""])
def test_a_name_that_is_no_label_is_refused(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["status", f"--name={name}"])
    assert "Allowed: a DNS label" in capsys.readouterr().err
