"""`splittraining validate`: everything that is wrong with a manifest, without running anything."""

from __future__ import annotations

import argparse
import sys

from splittraining.api.exit_codes import ExitCode
from splittraining.local.accepted import ManifestInvalid, accept_manifest
from splittraining.local.manifest import load_manifest
from splittraining.local.volumes import parse_pairs
from splittraining.report.markdown import render_count


def execute(arguments: argparse.Namespace) -> int:
    """Prints one line per problem, or that there is none."""
    sources = parse_pairs(arguments.source, flag="--source", meaning="NAME")
    manifest = load_manifest(arguments.filename, source_folders=sources)
    try:
        accepted = accept_manifest(manifest)
    except ManifestInvalid as error:
        for problem in error.problems:
            sys.stderr.write(f"error: {problem}\n")
        return error.problems[0].exit_code
    training = accepted.training
    sys.stdout.write(
        f"{training.metadata.namespace}/{training.metadata.name} is valid: {training.spec.topology.value}, "
        f"{render_count(len(training.spec.clients), 'client')}, contract {accepted.contract.compute_digest()}\n"
    )
    return ExitCode.OK
