"""Names of everything that the operator makes for a party, and the places that operator and party both know."""

from __future__ import annotations

import hashlib

LABEL_PREFIX = "splitlearning.dev"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "splittraining"
APP_LABEL = "app.kubernetes.io/name"
PARTY_APP = "splittraining-party"
TRAINING_LABEL = f"{LABEL_PREFIX}/training"
TRAINING_UID_LABEL = f"{LABEL_PREFIX}/training-uid"
PARTY_LABEL = f"{LABEL_PREFIX}/party"
ROLE_LABEL = f"{LABEL_PREFIX}/role"
ATTEMPT_LABEL = f"{LABEL_PREFIX}/attempt"

APPLIED_DIGEST_ANNOTATION = f"{LABEL_PREFIX}/applied-digest"
"""Digest of the manifest as it was last applied: an object that has the right one need not be written."""

SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""Selects whatever the operator made."""

FIELD_MANAGER = "splittraining-controller"

PARTY_PORT = 7443
"""Where the server party listens."""
INTAKE_PORT = 8443

DOCUMENT_FOLDER = "/etc/splittraining/party"
DOCUMENT_FILE = "party.json"
SOURCE_FOLDER = "/etc/splittraining/source"
TRUST_FOLDER = "/etc/splittraining/trust"
TRUST_FILE = "bundle.pem"
TOKEN_FOLDER = "/var/run/secrets/splittraining"  # noqa: S105 - a folder
TOKEN_FILE = "token"  # noqa: S105 - a file's name
DATA_FOLDER = "/data"
WARM_START_FOLDER = "/warm-start"
OUTPUT_FOLDER = "/output"
TERMINATION_PATH = "/dev/termination-log"

_TRAINING_CHARACTERS = 24
_PARTY_CHARACTERS = 16
_DIGEST_BYTES = 4


def build_child_name(training: str, party: str, *, uid: str) -> str:
    """Builds the name of a party's objects: readable, at most 49 characters, and of this very training alone.

    Args:
        training: Name of the SplitTraining.
        party: Name of the party.
        uid: Of the SplitTraining: one that is made anew under the same name meets none of these.
    """
    digest = hashlib.blake2b(f"{uid}/{party}".encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{training[:_TRAINING_CHARACTERS].rstrip('-')}-{party[:_PARTY_CHARACTERS].rstrip('-')}-{digest}"


def build_job_name(child: str, attempt: int) -> str:
    """Builds the name of a party's Job in one attempt."""
    return f"{child}-{attempt}"


def build_audience(participation_uid: str) -> str:
    """Builds the audience of the token for a party's first certificate: it opens one door for one party."""
    return f"splittraining:{participation_uid}"
