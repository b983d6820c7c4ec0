"""How a party ends when it cannot begin: an exit code, the last word where a cluster looks for it, and a report."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from splittraining.api.errors import SplitTrainingError
from splittraining.api.exit_codes import ExitCode
from splittraining.api.party_document import Endpoint, PartyDocument, Reporting
from splittraining.api.report import Isolation, PartyState, Report
from splittraining.party.main import run_party
from splittraining.party.training.session import Surroundings
from splittraining.plan.contracts import build_contract
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties
from support.builders import a_vanilla_training
from support.pki_support import DOMAIN, RUN, OpenIntake, a_site, open_intake

SITE = a_site(DOMAIN)
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture
def intake() -> Iterator[OpenIntake]:
    with open_intake(SITE) as running:
        yield running


@pytest.fixture(autouse=True)
def _sigterm_as_it_was() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def build_document(folder: Path, intake: OpenIntake, **changes: object) -> PartyDocument:
    """Returns the document of a client without data: whoever reads any fails."""
    access = intake.write_document(folder).intake
    training = a_vanilla_training().build()
    place = PartyPlace(
        access, str(folder / "output"), data_path=str(folder / "none"), termination_path=str(folder / "termination-log")
    )
    documents = build_party_documents(
        training,
        build_contract(training, source_digest=""),
        run=RunPlace(RUN, DOMAIN, Endpoint(host="127.0.0.1", port=1), Reporting()),
        places=dict.fromkeys(list_parties(training.spec), place),
    )
    return documents["st-mary"].model_copy(update=changes)


def run(folder: Path, document: PartyDocument) -> dict[str, object]:
    """Runs a party and returns its last word, which everybody must have been told alike."""
    path = folder / "party.json"
    path.write_text(document.model_dump_json(by_alias=True))
    code = run_party(str(path))
    end: dict[str, object] = json.loads((folder / "termination-log").read_text())
    assert end["code"] == code
    own = folder / "output" / "termination.json"
    assert not own.exists() or json.loads(own.read_text()) == end
    return end


def fetch_last_report(intake: OpenIntake) -> Report:
    _, report = intake.reports.get(timeout=5)
    while report.state is not PartyState.FAILED:
        _, report = intake.reports.get(timeout=5)
    return report


@without_gpu
def test_a_gpu_that_is_not_there_ends_a_party_before_it_reads_data_and_the_intake_is_told(
    intake: OpenIntake, tmp_path: Path
) -> None:
    end = run(tmp_path, build_document(tmp_path, intake, device="CUDA"))
    assert (end["code"], end["reason"]) == (ExitCode.DEVICE_UNAVAILABLE, "DeviceUnavailable")
    report = fetch_last_report(intake)
    assert (report.reason, report.exit_code, report.device) == ("DeviceUnavailable", ExitCode.DEVICE_UNAVAILABLE, "")
    assert report.certificate_expiration_time is not None


@without_gpu
def test_a_gpu_that_is_not_there_is_told_first_also_when_the_intake_is_away(tmp_path: Path) -> None:
    with open_intake(SITE) as intake:
        document = build_document(tmp_path, intake, device="CUDA", ready_timeout_seconds=1)
    assert run(tmp_path, document)["reason"] == "DeviceUnavailable"


def test_an_intake_that_never_answers_is_told_where_a_cluster_looks(tmp_path: Path) -> None:
    with open_intake(SITE) as intake:
        document = build_document(tmp_path, intake, ready_timeout_seconds=1)
    end = run(tmp_path, document)
    assert (end["code"], end["reason"]) == (ExitCode.START_TIMEOUT, "StartTimeout")
    assert "within 1 s" in str(end["message"])


@pytest.mark.parametrize(
    ("required", "reason"),
    [
        pytest.param(True, "NetworkOpen", id="required"),
        pytest.param(False, "DataInvalid", id="preferred", marks=pytest.mark.slow),
    ],
)
def test_an_open_network_ends_a_party_before_it_reads_data_only_where_it_must_be_closed(
    intake: OpenIntake, tmp_path: Path, *, required: bool, reason: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as forbidden:
        probe = Endpoint(host="127.0.0.1", port=forbidden.getsockname()[1])
        document = build_document(tmp_path, intake, isolation_probe=probe, isolation_required=required)
        end = run(tmp_path, document)
    assert end["reason"] == reason
    assert fetch_last_report(intake).isolation is Isolation.OPEN


def test_a_folder_that_cannot_be_written_is_told_where_a_cluster_looks(intake: OpenIntake, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    end = run(tmp_path, build_document(tmp_path, intake, output_path=str(tmp_path / "file" / "output")))
    assert (end["code"], end["reason"]) == (ExitCode.STORAGE, "StorageFailed")
    assert str(tmp_path / "file") in str(end["message"])


@pytest.mark.parametrize("error", SplitTrainingError.__subclasses__(), ids=lambda error: error.__name__)
def test_what_ends_a_party_is_its_exit_code(
    error: type[SplitTrainingError], intake: OpenIntake, tmp_path: Path
) -> None:
    document = build_document(tmp_path, intake, isolation_probe=Endpoint(host="10.96.0.1", port=443))
    path = tmp_path / "party.json"
    path.write_text(document.model_dump_json(by_alias=True))

    def fail(address: tuple[str, int], timeout: float) -> None:
        del address, timeout
        raise error("this is why")

    assert run_party(str(path), surroundings=replace(Surroundings(), connect=fail)) == error.exit_code
    report = fetch_last_report(intake)
    assert (report.reason, report.exit_code) == (error.__name__, error.exit_code)
    assert json.loads((tmp_path / "termination-log").read_text())["reason"] == error.__name__
