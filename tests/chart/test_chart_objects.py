"""What the chart renders: valid everywhere, named as the operator expects, closed as far as it can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml

from splittraining import __version__
from splittraining.api.names import SELECTOR
from splittraining.controller.parts import build_operator_settings
from splittraining.controller.settings import Settings, parse_settings
from splittraining.plan.manifests.job import NOBODY
from splittraining.plan.manifests.settings import DnsSettings
from support.helm import CHART, NAMESPACE, RELEASE, Helm, Refused, Rendered
from support.house_support import ROOT
from support.yaml_text import load

LONGEST_RELEASE = "a" * 53
DIGEST = "sha256:" + "0" * 64
MODES: Mapping[str, dict[str, Any]] = {
    "as it comes": {},
    "namespaced": {"watchNamespaces": ["st-mary", "st-luke", "42"]},
    "cluster with invitations": {"workNamespaces": ["st-mary", "st-luke", "42"]},
    "all off": {
        "partyImage": {"repository": ""},
        "crds": {"enabled": False},
        "serviceAccount": {"create": False, "name": "somebody"},
        "rbac": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
    "all on": {
        "replicas": 3,
        "image": {"repository": "registry.example:5000/team/operator", "digest": DIGEST, "pullPolicy": "Always"},
        "partyImage": {"repository": "registry.example/party", "tag": "0.1.0-gpu"},
        "imagePullSecrets": [{"name": "pull"}],
        "trustDomain": "trial.example",
        "workers": 8,
        "logLevel": "debug",
        "isolationProbe": "[fd00::1]:443",
        "dns": {"podLabels": {"app": "resolver", "tier": "dns"}, "ipBlocks": ["169.254.20.10/32"], "ports": [53, 5353]},
        "parties": {"outputStorage": "20Gi", "sharedMemory": "512Mi"},
        "ports": {"intake": 9443, "metrics": 9080, "probes": 9081},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        "tolerations": [
            {"key": "dedicated", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2000000}
        ],
        "podAnnotations": {"example.com/note": "yes"},
        "serviceAccount": {"annotations": {"example.com/role": "operator"}},
        "networkPolicy": {
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "apiServer": {"ports": [16443], "ipBlocks": ["10.0.0.5/32", "fd00::5/128"]},
        },
        "serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
    },
}
KUBERNETES_VERSIONS = ("1.31", "1.37")
"""The oldest that the chart allows, and the newest there are schemas of."""
BY_MODE = pytest.mark.parametrize("values", MODES.values(), ids=MODES)


def read_settings(rendered: Rendered) -> Settings:
    """Reads the settings as a pod's process would: from its arguments and what the downward API fills in."""
    container = rendered.container
    filled = {"metadata.name": "pod-1", "metadata.namespace": NAMESPACE, "status.podIP": "10.0.0.9"}
    environment = {entry["name"]: filled[entry["valueFrom"]["fieldRef"]["fieldPath"]] for entry in container["env"]}
    return parse_settings(container["args"], environment)


def walk(node: object) -> Iterator[object]:
    yield node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(below)


@BY_MODE
def test_helm_finds_nothing_to_complain_about(helm: Helm, values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in helm.lint(values)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@BY_MODE
def test_every_kubernetes_version_knows_every_field(helm: Helm, values: dict[str, Any], version: str) -> None:
    rendered = helm.render(values, kubernetes=f"{version}.0")
    checked = [item for item in rendered if item["kind"] not in {"CustomResourceDefinition", "ServiceMonitor"}]
    assert len(checked) >= 4
    for item in checked:
        assert kubernetes_validate.validate(item, version, strict=True) == version


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match="incompatible"):
        helm.render(kubernetes="1.30.9")


@BY_MODE
def test_the_same_values_render_the_same_text_on_every_upgrade(helm: Helm, values: dict[str, Any]) -> None:
    assert helm.render_text(values) == helm.render_text(values)


@BY_MODE
def test_no_name_is_too_long_and_no_object_is_there_twice(helm: Helm, values: dict[str, Any]) -> None:
    rendered = helm.render(values, release=LONGEST_RELEASE)
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in rendered]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, _, name in names)
    for node in walk(list(rendered)):
        if isinstance(node, dict) and isinstance(node.get("labels"), dict) and "kind" in node:
            assert all(len(value) <= 63 for value in node["labels"].values())


@pytest.mark.parametrize("release", ["1st", "two.parts"])
def test_a_release_that_no_service_could_be_named_after_is_refused(helm: Helm, release: str) -> None:
    with pytest.raises(Refused, match="starts with a letter"):
        helm.render(release=release)


@pytest.mark.parametrize("release", ["true", "null", "on"])
def test_a_release_whose_name_is_a_word_of_yaml_keeps_its_name(helm: Helm, release: str) -> None:
    rendered = helm.render(release=release)
    assert rendered.the("Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == release
    assert rendered.the("Role")["rules"][0]["resourceNames"] == [f"{release}-controller"]


@pytest.mark.parametrize("values", [MODES["as it comes"], MODES["namespaced"], MODES["all on"]])
@pytest.mark.parametrize("release", [RELEASE, "clinic", LONGEST_RELEASE])
def test_the_operator_and_the_chart_use_the_same_names(helm: Helm, release: str, values: dict[str, Any]) -> None:
    rendered = helm.render(values, release=release)
    settings = read_settings(rendered)
    services = {service["metadata"]["name"]: service["spec"] for service in rendered.of("Service")}
    intake, namespace, _ = settings.intake_host.split(".")
    assert namespace == NAMESPACE
    assert (
        services[intake]["selector"].items()
        <= rendered.the("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    )
    assert "selector" not in services[settings.reports_name]
    assert settings.reports_host == f"{settings.reports_name}.{NAMESPACE}.svc"
    for name in (intake, settings.reports_name):
        (port,) = services[name]["ports"]
        assert (port["name"], port["port"], port["targetPort"]) == (
            "intake",
            settings.intake_port,
            settings.intake_port,
        )
    named = {
        tuple(rule["resources"]): rule["resourceNames"]
        for _, rule in rendered.iterate_rules()
        if "resourceNames" in rule
    }
    assert named == {
        ("leases",): [settings.lease_name],
        ("secrets",): [settings.authority_name],
        ("endpointslices",): [settings.reports_name],
    }


def test_the_policies_of_parties_let_them_reach_the_operators_pods(helm: Helm) -> None:
    rendered = helm.render(MODES["all on"])
    settings = build_operator_settings(read_settings(rendered))
    labels = rendered.the("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert settings.intake_labels.items() <= labels.items()
    (opened,) = [
        rule for rule in rendered.the("NetworkPolicy")["spec"]["ingress"]
        if rule["ports"] == [{"protocol": "TCP", "port": settings.intake_port}]
    ]  # fmt: skip
    assert opened["from"] == [{"namespaceSelector": {}}]


@BY_MODE
def test_nothing_of_the_chart_looks_like_what_the_operator_made(helm: Helm, values: dict[str, Any]) -> None:
    name, value = SELECTOR.split("=")
    assert all(item["metadata"].get("labels", {}).get(name) != value for item in helm.render(values))


def test_every_value_arrives_where_it_belongs(helm: Helm) -> None:
    rendered = helm.render(MODES["all on"])
    settings = read_settings(rendered)
    assert settings == Settings(
        namespace=NAMESPACE,
        pod_name="pod-1",
        pod_ip="10.0.0.9",
        trust_domain="trial.example",
        party_image="registry.example/party:0.1.0-gpu",
        intake_port=9443,
        metrics_port=9080,
        probe_port=9081,
        workers=8,
        log_level="debug",
        isolation_probe=settings.isolation_probe,
        dns=DnsSettings(labels={"app": "resolver", "tier": "dns"}, ports=(53, 5353), ip_blocks=("169.254.20.10/32",)),
        output_storage="20Gi",
        shared_memory="512Mi",
    )
    assert (settings.isolation_probe.host, settings.isolation_probe.port) == ("fd00::1", 443)
    deployment, pod, container = rendered.the("Deployment"), rendered.pod, rendered.container
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["template"]["metadata"]["annotations"] == {"example.com/note": "yes"}
    assert container["image"] == f"registry.example:5000/team/operator@{DIGEST}"
    assert container["imagePullPolicy"] == "Always"
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
    assert pod["tolerations"] == MODES["all on"]["tolerations"]
    assert rendered.the("ServiceAccount")["metadata"]["annotations"] == {"example.com/role": "operator"}
    monitor = rendered.the("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "15s"}]
    text = yaml.safe_dump(rendered.the("NetworkPolicy"))
    assert all(word in text for word in ("monitoring", "169.254.20.10/32", "5353", "16443", "fd00::5/128"))


def test_what_is_switched_off_is_not_there(helm: Helm) -> None:
    rendered = helm.render(MODES["all off"])
    assert {item["kind"] for item in rendered} == {"Deployment", "Service"}
    assert rendered.pod["serviceAccountName"] == "somebody"
    assert read_settings(rendered).party_image == ""


def test_as_it_comes_it_runs_the_projects_own_version(helm: Helm) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    rendered = helm.render()
    assert rendered.container["image"] == f"splittraining-operator:{__version__}"
    settings = read_settings(rendered)
    assert settings.party_image == f"splittraining-party:{__version__}"
    assert settings == Settings(
        namespace=NAMESPACE, pod_name="pod-1", pod_ip="10.0.0.9", party_image=settings.party_image
    )
    assert read_settings(helm.render(MODES["namespaced"])).watch_namespaces == ("st-mary", "st-luke", "42")
    assert rendered.the("Deployment")["spec"]["replicas"] == 2
    assert rendered.the("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


@BY_MODE
def test_the_pod_is_what_the_restricted_standard_asks_for_and_more(helm: Helm, values: dict[str, Any]) -> None:
    pod, container = helm.render(values).pod, helm.render(values).container
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert [sorted(volume) for volume in pod["volumes"]] == [["emptyDir", "name"]]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] == NOBODY
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == {"memory": "512Mi"}
    assert not any("hostPort" in port for port in container["ports"])


@BY_MODE
def test_the_kubelet_and_prometheus_ask_at_the_doors_that_are_open(helm: Helm, values: dict[str, Any]) -> None:
    rendered = helm.render(values)
    container, settings = rendered.container, read_settings(rendered)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {
        "intake": settings.intake_port, "metrics": settings.metrics_port, "probes": settings.probe_port
    }  # fmt: skip
    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: get["path"] for name, get in asked.items()} == {
        "startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"
    }  # fmt: skip
    assert {get["port"] for get in asked.values()} == {"probes"}
    (port,) = rendered.the("Service", f"{RELEASE}-metrics")["spec"]["ports"]
    assert (port["name"], port["port"]) == ("metrics", settings.metrics_port)


def test_links_of_services_are_no_settings(helm: Helm) -> None:
    rendered = helm.render()
    assert rendered.pod["enableServiceLinks"] is False
    links = {f"{item['metadata']['name'].replace('-', '_').upper()}_PORT" for item in rendered.of("Service")}
    assert "SPLITTRAINING_INTAKE_PORT" in links, "what they would be"


def test_the_monitor_selects_the_service_with_metrics_alone(helm: Helm) -> None:
    rendered = helm.render(MODES["all on"])
    wanted = rendered.the("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    selected = [
        item["metadata"]["name"] for item in rendered.of("Service") if wanted <= item["metadata"]["labels"].items()
    ]
    assert selected == [f"{RELEASE}-metrics"]


@pytest.mark.parametrize(
    ("values", "annotations"),
    [({}, {"annotations": {"helm.sh/resource-policy": "keep"}}), ({"crds": {"keep": False}}, {})],
    ids=["kept", "not kept"],
)
def test_the_definitions_are_those_of_the_project_to_the_letter(
    helm: Helm, values: dict[str, Any], annotations: dict[str, Any]
) -> None:
    rendered = helm.render(values)
    files = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*.yaml")} == files
    wanted = [load(text) for text in files.values()]
    for definition in wanted:
        definition["metadata"] |= annotations
    by_name = {item["metadata"]["name"]: item for item in rendered.of("CustomResourceDefinition")}
    assert by_name == {item["metadata"]["name"]: item for item in wanted}
