"""An operator whose way to the API server goes wrong at every request: nothing is lost, nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from splittraining.controller.process import EXIT_STOPPED
from support.faulty_proxy import Fault, FaultyProxy, Kind

Wait = Callable[..., Any]

WRITES = r"^(POST|PATCH|DELETE) (?!.*/leases)"
READS = r"^GET (?!.*(/leases|watch=))"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"


def build_status(code: int, reason: str, message: str) -> dict[str, object]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason} | {
        "message": message
    }


BUSY = Fault(WRITES, status=429, body=build_status(429, "TooManyRequests", "come again"), headers={"Retry-After": "1"})
FAILED = Fault(WRITES, status=500, body=build_status(500, "InternalError", "etcd leader changed"))
CONFLICT = Fault(WRITES, status=409, body=build_status(409, "Conflict", "the object has been modified"))
UNREADABLE = Fault(READS, status=500, body=build_status(500, "InternalError", "etcd leader changed"))
LOST = Fault(WRITES, Kind.LOST_ANSWER)
SILENT = Fault(r"^PATCH .*/networkpolicies/", Kind.SILENCE)


@pytest.fixture
def proxy(server: Any) -> Iterator[FaultyProxy]:
    with FaultyProxy(server.port, server.folder / "certs" / "apiserver.crt").running() as running:
        yield running


def start(place: Any, proxy: FaultyProxy) -> Any:
    """Starts an operator that reaches the API server by the proxy alone."""
    return place.start(KUBECONFIG=str(proxy.write_kubeconfig(place.server.write_kubeconfig("operator-a"))))


def get_told_states(place: Any) -> list[str]:
    children = place.list_children()
    return [obj.get("status", {}).get("state", "") for (kind, _), obj in children.items() if "Participation" in kind]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(BUSY, id="429"),
        pytest.param(FAILED, id="500"),
        pytest.param(CONFLICT, id="409"),
        pytest.param(UNREADABLE, id="500 of reads"),
        pytest.param(LOST, id="lost"),
        pytest.param(SILENT, id="silent", marks=pytest.mark.xdist_group("patient")),
    ],
)
def test_whatever_goes_wrong_once_with_everything_all_is_there_in_the_end(
    place: Any, proxy: FaultyProxy, wait: Wait, fault: Fault
) -> None:
    operator = start(place, proxy)
    wait("a leader", operator.is_leading)
    proxy.set_faults(fault)
    place.apply_training()
    wait("what each institution is told", lambda: get_told_states(place) == ["Starting"] * 3, patience_s=70)
    place.wait_for_children()
    assert place.get_state() == "Starting"
    assert proxy.num_met >= 3
    done = [row for row in place.read_writes() if row["responseStatus"]["code"] < 300]
    made = [name for name in place.describe_writes(done) if "splittrainings/status" not in name]
    assert len(made) == len(set(made)), "nothing was made or written twice"
    children, num_done = place.list_children(), len(done)
    assert operator.stop() == EXIT_STOPPED
    more = [row for row in place.read_writes() if row["responseStatus"]["code"] < 300][num_done:]
    assert place.describe_writes(more) == []
    assert place.list_children() == children


def test_what_is_deleted_while_a_watch_is_too_old_is_missed_by_nobody(
    place: Any, proxy: FaultyProxy, wait: Wait
) -> None:
    operator = start(place, proxy)
    wait("a leader", operator.is_leading)
    place.apply_training()
    place.wait_for_children()
    wait("what each institution is told", lambda: get_told_states(place) == ["Starting"] * 3)
    away = Fault(
        r"^GET .*/networkpolicies\?", status=503, body=build_status(503, "ServiceUnavailable", "away"), times=99
    )
    proxy.set_faults(away)
    assert proxy.expire_watches("/networkpolicies$") == 1
    wait("kopf, that wants to list again", lambda: proxy.num_met >= 1)
    path = POLICIES.format(place.namespace)
    before = {each["metadata"]["name"]: each["metadata"]["uid"] for each in place.server.get(path)["items"]}
    gone = min(before)
    assert place.server.call("DELETE", f"{path}/{gone}")[0] == 200
    proxy.set_faults()

    def list_uids() -> dict[str, str]:
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in place.server.get(path)["items"]}

    after = wait("the policy anew", lambda: len(list_uids()) == len(before) and list_uids())
    assert {name for name in before if before[name] != after[name]} == {gone}
    assert (
        'splittraining_missed_changes_total{kind="NetworkPolicy"} 1.0'
        in operator.fetch(operator.metrics_port, "/metrics")[1]
    )
