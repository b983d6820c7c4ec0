"""ConfigMaps of a party: its document, a copy of the model's source, the roots that it trusts."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from splittraining.api.names import DOCUMENT_FILE, TRUST_FILE
from splittraining.api.party_document import PartyDocument
from splittraining.api.resource import SplitTraining
from splittraining.plan.manifests.metadata import Manifest, build_object, get_child_name, own_by_participation


def build_document_map(training: SplitTraining, party: str, *, uid: str, document: PartyDocument) -> Manifest:
    """Builds the ConfigMap with the party's document: all that it is told."""
    text = document.model_dump_json(by_alias=True, exclude_none=True)
    return _build(training, party, uid, get_child_name(training, party), data={DOCUMENT_FILE: text})


def build_source_map(training: SplitTraining, party: str, *, uid: str, files: Mapping[str, bytes]) -> Manifest:
    """Builds the copy of the model's source: what was accepted, whatever becomes of the original."""
    sections: dict[str, dict[str, str]] = {}
    for name, content in sorted(files.items()):
        section, text = _render_content(content)
        sections.setdefault(section, {})[name] = text
    return _build(training, party, uid, get_source_name(training, party), immutable=True, **sections)


def build_trust_map(training: SplitTraining, party: str, *, uid: str, bundle_pem: str) -> Manifest:
    """Builds the ConfigMap with the roots that the party trusts at the intake's door."""
    return _build(training, party, uid, get_trust_name(training, party), data={TRUST_FILE: bundle_pem})


def get_source_name(training: SplitTraining, party: str) -> str:
    """Returns the name of the copy of the model's source."""
    return f"{get_child_name(training, party)}-source"


def get_trust_name(training: SplitTraining, party: str) -> str:
    """Returns the name of the ConfigMap with the roots."""
    return f"{get_child_name(training, party)}-trust"


def _render_content(content: bytes) -> tuple[str, str]:
    """Renders a file's content as a ConfigMap holds it: text, or base64 of bytes that are none."""
    try:
        return "data", content.decode()
    except UnicodeDecodeError:
        return "binaryData", base64.b64encode(content).decode("ascii")


def _build(training: SplitTraining, party: str, uid: str, name: str, **sections: object) -> Manifest:
    owners = own_by_participation(training, party, uid)
    return build_object("v1", "ConfigMap", training, party, owners=owners, name=name, **sections)
