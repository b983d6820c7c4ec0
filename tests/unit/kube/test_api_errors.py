"""What an answer of the API server means, by name."""

from __future__ import annotations

from typing import Any

import pytest

from splittraining.cluster import errors


def refuse(status: int, message: str, **body: Any) -> errors.ApiError:
    return errors.build_error("PATCH /apis/x", status, {"message": message, **body})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(refuse(404, "not found"), errors.NotFound, id="nothing there"),
        pytest.param(
            refuse(409, "the object has been modified", reason="Conflict"), errors.Conflict, id="another version"
        ),
        pytest.param(
            refuse(409, "already exists", reason="AlreadyExists"), errors.AlreadyExists, id="a name that is taken"
        ),
        pytest.param(refuse(410, "too old resource version"), errors.Gone, id="too old"),
        pytest.param(
            refuse(403, 'jobs.batch is forbidden: User "x" cannot patch'), errors.Forbidden, id="a missing right"
        ),
        pytest.param(
            refuse(403, 'pods "x" is forbidden: exceeded quota: gpus, requested: ...'),
            errors.QuotaExceeded,
            id="a quota",
        ),
        pytest.param(
            refuse(403, 'admission webhook "policy.example" denied the request: no label'),
            errors.AdmissionRefused,
            id="a webhook",
        ),
        pytest.param(
            refuse(403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": ...'),
            errors.AdmissionRefused,
            id="pod security",
        ),
        pytest.param(
            refuse(
                403, 'persistentvolumeclaims "x" is forbidden: minimum storage usage per PersistentVolumeClaim is 2Gi'
            ),
            errors.AdmissionRefused,
            id="a limit range",
        ),
        pytest.param(
            refuse(
                403,
                "unable to create new content in namespace x because it is being terminated",
                details={"causes": [{"reason": "NamespaceTerminating"}]},
            ),
            errors.NamespaceTerminating,
            id="a namespace that goes",
        ),
        pytest.param(
            refuse(403, "x is forbidden: cannot set blockOwnerDeletion because cannot find RESTMapping for y"),
            errors.ServerFailed,
            id="a kind that came a moment ago",
        ),
        pytest.param(refuse(422, "spec.rounds: Invalid value"), errors.Invalid, id="an invalid object"),
        pytest.param(refuse(400, "strict decoding error"), errors.Invalid, id="an object that cannot be read"),
        pytest.param(
            refuse(500, "failed to create typed patch object (x; batch/v1, Kind=Job): .spec.foo: field not declared"),
            errors.TypedPatchFailed,
            id="an apply that will never do",
        ),
        pytest.param(refuse(500, "etcdserver: leader changed"), errors.ServerFailed, id="a server that failed"),
        pytest.param(refuse(503, "unavailable"), errors.ServerFailed, id="a server that is away"),
        pytest.param(refuse(429, "too many requests"), errors.TooManyRequests, id="too many requests"),
    ],
)
def test_an_answer_has_a_name(error: errors.ApiError, kind: type[errors.ApiError]):
    assert type(error) is kind
    assert str(error).startswith("PATCH /apis/x: ")


def test_a_quota_and_a_namespace_that_goes_are_missing_rights_too():
    assert issubclass(errors.QuotaExceeded, errors.Forbidden)
    assert issubclass(errors.NamespaceTerminating, errors.Forbidden)


def test_a_long_answer_is_cut():
    assert len(str(refuse(500, "x" * 100_000))) < 2000
