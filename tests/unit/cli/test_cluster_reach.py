"""Errors of a cluster say which right is missing, which name was meant, and what to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from splittraining.api.conditions import FailedReason
from splittraining.api.exit_codes import ExitCode
from splittraining.api.failures import EXIT_CODES, get_exit_code
from splittraining.api.usage import ClusterFailed, UsageInvalid
from splittraining.cli.main import main, plugin_main
from splittraining.cli.reach import explain, name_right
from splittraining.cli.trainings import choose_parties, fetch_training, parse_training
from splittraining.cluster.errors import NotFound, Unreachable, build_error
from splittraining.cluster.resources import SPLIT_TRAINING
from support.api_objects import NAME, NAMESPACE, make_training
from support.cluster_api import PretendedCluster, forbid


def test_a_missing_right_is_named_from_the_servers_words():
    error = explain(forbid("create", "pods/exec"), NAMESPACE)
    assert isinstance(error, ClusterFailed)
    assert "users with the right to create pods/exec in namespace trial" in str(error)
    assert name_right(forbid("list", "splittrainings", "splitlearning.dev")) == "list splittrainings.splitlearning.dev"


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        ("GET /api/v1/namespaces/trial/pods", "list pods"),
        ("GET /api/v1/namespaces/trial/pods/x/log", "get pods/log"),
        ("GET /api/v1/namespaces/trial/pods/x/exec", "create pods/exec"),
        ("POST /api/v1/namespaces/trial/pods", "create pods"),
        (
            "GET /apis/splitlearning.dev/v1alpha1/namespaces/trial/splittrainings/x",
            "get splittrainings.splitlearning.dev",
        ),
        ("GET /readyz", "GET /readyz"),
    ],
)
def test_a_missing_right_is_named_from_the_call_where_the_server_says_nothing(asked, right):
    assert name_right(build_error(asked, 403, {"message": "no"})) == right


def test_silence_and_an_ended_login_have_their_own_remedies():
    assert "kubectl cluster-info" in str(explain(Unreachable("GET /x", "no answer within 15 s"), NAMESPACE))
    assert "log in again" in str(explain(build_error("GET /x", 401, {"message": "Unauthorized"}), NAMESPACE))
    assert "the cluster failed" in str(explain(build_error("GET /x", 500, {"message": "etcd"}), NAMESPACE))


def find(cluster, name):
    return asyncio.run(fetch_training(cluster, NAMESPACE, name))


def test_a_misspelled_name_gets_the_names_that_are_there():
    with pytest.raises(UsageInvalid, match=r"did you mean chest-xray\?.*Allowed: chest-xray\. To do: .*-n") as refused:
        find(PretendedCluster(make_training()), "chest-xary")
    assert refused.value.exit_code == ExitCode.USAGE


def test_an_empty_namespace_is_said_to_be_empty():
    with pytest.raises(UsageInvalid, match="namespace trial holds no SplitTraining"):
        find(PretendedCluster(), "chest-xray")


def test_a_user_who_may_not_list_is_still_told_that_there_is_none():
    cluster = PretendedCluster(make_training())
    cluster.refuse("LIST", SPLIT_TRAINING, forbid("list", "splittrainings"))
    with pytest.raises(UsageInvalid, match="there is no SplitTraining other"):
        find(cluster, "other")


def test_a_cluster_without_the_operator_is_told_from_a_missing_training():
    cluster = PretendedCluster()
    cluster.refuse("LIST", SPLIT_TRAINING, NotFound("GET /apis", "404 page not found"))
    with pytest.raises(ClusterFailed, match="does not know SplitTrainings"):
        find(cluster, NAME)


def test_a_party_that_is_none_gets_the_parties_that_are():
    training = parse_training(make_training())
    assert choose_parties(training, "") == ("server", "st-mary", "st-luke")
    assert choose_parties(training, "st-mary") == ("st-mary",)
    with pytest.raises(UsageInvalid, match=r"did you mean st-mary\?.*Allowed: server, st-mary, st-luke"):
        choose_parties(training, "st-marry")


def test_a_status_that_is_none_of_this_version_is_told_as_such():
    with pytest.raises(ClusterFailed, match="cannot be read"):
        parse_training(make_training(attempt="many"))


@pytest.mark.parametrize("reason", FailedReason)
def test_every_reason_of_a_failure_has_its_exit_code(reason):
    assert (EXIT_CODES[reason] is ExitCode.OK) == (reason is FailedReason.NOT_FAILED)
    assert get_exit_code(reason) is EXIT_CODES[reason]


def test_a_newer_operators_reason_is_a_failure_all_the_same():
    assert get_exit_code("SunSpots") is ExitCode.INTERNAL


def test_the_plugin_without_a_command_says_which_there_are(capsys):
    assert plugin_main([]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "usage: kubectl splittraining" in error
    assert "Allowed: status, logs, fetch, plan. To do:" in error


@pytest.mark.parametrize("arguments", [["run", "-f", "x"], ["status"], ["logs", "x", "--attempt", "0"]], ids=repr)
def test_the_plugin_refuses_what_it_has_not(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        plugin_main(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert "usage: kubectl splittraining" in capsys.readouterr().err


@pytest.mark.parametrize("call", [main, plugin_main])
@pytest.mark.parametrize("command", [["status", "x"], ["logs", "x"], ["fetch", "x", "server"]], ids=repr)
def test_without_a_kubeconfig_a_command_says_how_to_name_one(call, command, tmp_path, capsys):
    missing = str(tmp_path / "none")
    assert call([*command, "--kubeconfig", missing]) == ExitCode.USAGE
    assert "Allowed: a kubeconfig: --kubeconfig FILE" in capsys.readouterr().err


def write_kubeconfig(folder: Path, server: str, namespace: str) -> str:
    context = {"cluster": "here", "user": "mary", "namespace": namespace}
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": context}],
                "clusters": [{"name": "here", "cluster": {"server": server}}],
                "users": [{"name": "mary", "user": {"token": "t"}}],
            }
        )
    )
    return str(path)


def test_a_cluster_that_does_not_answer_ends_with_its_own_code(tmp_path, capsys):
    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1", "trial")
    assert main(["status", "x", "--kubeconfig", kubeconfig]) == ExitCode.CLUSTER_FAILED
    error = capsys.readouterr().err
    assert (
        "the cluster does not answer: GET /apis/splitlearning.dev/v1alpha1/namespaces/trial/splittrainings/x" in error
    )


def test_a_namespace_that_is_given_wins_over_the_contexts(tmp_path, capsys):
    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1", "trial")
    assert main(["status", "x", "--kubeconfig", kubeconfig, "-n", "other"]) == ExitCode.CLUSTER_FAILED
    assert "/namespaces/other/" in capsys.readouterr().err


def test_a_context_that_is_not_there_is_refused(tmp_path, capsys):
    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1", "trial")
    assert main(["status", "x", "--kubeconfig", kubeconfig, "--context", "there"]) == ExitCode.USAGE
    assert "kubectl config get-contexts" in capsys.readouterr().err
