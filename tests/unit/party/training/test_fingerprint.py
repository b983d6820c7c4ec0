"""Numeric switches and the fingerprint of what results depend on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from splittraining.api.errors import NumericsInvalid
from splittraining.party.training.device import select_device
from splittraining.party.training.fingerprint import compute_fingerprint, prepare_numerics

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _switches_as_they_were() -> Iterator[None]:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), cuda.allow_tf32)
    before_cudnn = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
    cuda.allow_tf32 = before[2]
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = before_cudnn


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_named_in_the_fingerprint() -> None:
    device = select_device("CUDA")
    fingerprint = compute_fingerprint(intra_op_threads=1, device=device)
    assert fingerprint["device"] == torch.cuda.get_device_name(0)
    assert fingerprint["cuda"] == torch.version.cuda


def test_exact_switches_everything_off_that_could_change_a_bit() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    prepare_numerics(intra_op_threads=2, device=CPU, exact=True)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    fingerprint = compute_fingerprint(intra_op_threads=2, device=CPU)
    assert (fingerprint["deterministic"], fingerprint["tf32"], fingerprint["threads"]) == ("true", "false", "2")
    assert not torch.backends.cudnn.benchmark


def test_parties_of_one_process_can_be_prepared_one_after_the_other() -> None:
    for threads, exact in ((1, True), (2, False), (1, True)):
        prepare_numerics(intra_op_threads=threads, device=CPU, exact=exact)
        assert torch.get_num_threads() == threads
        assert torch.are_deterministic_algorithms_enabled() is exact


@pytest.mark.skipif("CUBLAS_WORKSPACE_CONFIG" in os.environ, reason="this process was started for exact CUDA")
def test_exact_on_a_gpu_needs_the_variable_that_is_read_at_the_start() -> None:
    with pytest.raises(NumericsInvalid, match=r"CUBLAS_WORKSPACE_CONFIG=None. Allowed: :4096:8 or :16:8"):
        prepare_numerics(intra_op_threads=1, device=torch.device("cuda", 0), exact=True)
    prepare_numerics(intra_op_threads=1, device=torch.device("cuda", 0), exact=False)


def test_the_fingerprint_names_device_and_versions_in_short_texts() -> None:
    fingerprint = compute_fingerprint(intra_op_threads=1, device=CPU)
    assert fingerprint.keys() == {"torch", "device", "threads", "cpu_capability", "deterministic", "tf32"}
    assert fingerprint["torch"] == torch.__version__
    assert all(0 < len(value) <= 255 for value in fingerprint.values())
