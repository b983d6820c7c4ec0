"""The device that a party document asks for: there and named, or refused with what a person would look up."""

from __future__ import annotations

import pytest
import torch

from splittraining.api.errors import DeviceUnavailable
from splittraining.party.training.device import describe_device, select_device


def test_the_cpu_is_always_there() -> None:
    device = select_device("CPU")
    assert device == torch.device("cpu")
    assert describe_device(device) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_told_with_build_driver_and_remedies() -> None:
    with pytest.raises(DeviceUnavailable, match=r"device CUDA was asked for, but PyTorch .* finds none") as refused:
        select_device("CUDA")
    assert torch.__version__ in refused.value.given
    assert "built for CUDA" in refused.value.given or "built without CUDA" in refused.value.given
    assert "driver" in refused.value.given
    assert "/dev/nvidia0" in refused.value.given
    for remedy in ("nvidia-smi", "runtimeClassName", "image", "device: CPU"):
        assert remedy in refused.value.remedy


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_named_as_reports_show_it() -> None:
    assert describe_device(select_device("CUDA")) == f"cuda:0 {torch.cuda.get_device_name(0)}"
