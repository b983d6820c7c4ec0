"""`splittraining plan`: who owns what, what crosses, how many bytes that is, and a picture of it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from splittraining.api.exit_codes import ExitCode
from splittraining.api.plan_report import PlanReport
from splittraining.api.usage import UsageInvalid
from splittraining.cli.cost_text import render_costs
from splittraining.cli.plan_text import render_plan
from splittraining.local.accepted import AcceptedTraining, accept_manifest, list_claims
from splittraining.local.manifest import Manifest, load_manifest, read_text
from splittraining.local.pin import pin_wire_plan_digest
from splittraining.local.planner import cut_model
from splittraining.local.row_counts import count_test_rows, count_train_rows
from splittraining.local.volumes import parse_pairs, resolve_volumes
from splittraining.local.workspace import replace_file
from splittraining.plan.party_plans import build_party_plan
from splittraining.report.diagram import render_diagram


def execute(arguments: argparse.Namespace) -> int:
    """Prints the plan and, if asked, writes its digest into the manifest."""
    sources = parse_pairs(arguments.source, flag="--source", meaning="NAME")
    manifest = load_manifest(arguments.filename, source_folders=sources)
    accepted = accept_manifest(manifest)
    if arguments.pin:
        # An old pin would refuse the very model that is to be pinned anew.
        accepted = accept_manifest(_unpin(manifest))
    report = cut_model(accepted, debug=arguments.debug)
    if arguments.json:
        sys.stdout.write(report.model_dump_json(by_alias=True, indent=2) + "\n")
    elif arguments.diagram:
        sys.stdout.write(render_diagram(report))
    else:
        volumes = _find_volumes(accepted, manifest, arguments)
        rows = count_train_rows(accepted.training, volumes)
        sys.stdout.write(render_plan(report, accepted.training, rows, _compute_digests(accepted)) + "\n")
        sys.stdout.write(render_costs(report, accepted.training, rows, count_test_rows(accepted.training, volumes)))
    if arguments.pin:
        _pin(manifest, report)
    return ExitCode.OK


def _unpin(manifest: Manifest) -> Manifest:
    spec = manifest.training["spec"]
    model = {name: value for name, value in spec["model"].items() if name != "wirePlanDigest"}
    training = {**manifest.training, "spec": {**spec, "model": model}}
    return Manifest(manifest.path, training, manifest.sources, manifest.replaced_sources)


def _compute_digests(accepted: AcceptedTraining) -> dict[str, str]:
    digests = {"contract": accepted.contract.compute_digest()}
    for party in accepted.contract.parties:
        digests[f"own plan of {party.name}"] = build_party_plan(accepted.training, party.name).compute_digest()
    return digests


def _find_volumes(accepted: AcceptedTraining, manifest: Manifest, arguments: argparse.Namespace) -> dict[str, Path]:
    given = parse_pairs(arguments.volume, flag="--volume", meaning="CLAIM")
    volumes: dict[str, Path] = {}
    for claim in list_claims(accepted.training):
        # Data need not be there for a plan: whoever writes the manifest may not even be allowed to see it.
        with contextlib.suppress(UsageInvalid):
            volumes |= resolve_volumes([claim], {claim: given[claim]} if claim in given else {}, manifest.folder)
    return volumes


def _pin(manifest: Manifest, report: PlanReport) -> None:
    pinned = pin_wire_plan_digest(read_text(manifest.path), report.wire_plan_digest)
    replace_file(manifest.path, pinned.encode())
    sys.stderr.write(f"pinned {report.wire_plan_digest} in {manifest.path}\n")
