"""The same rows in any format, and through any number of start overs, train the same weights: whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.numpy import save_file

from splittraining.api.exit_codes import ExitCode
from splittraining.party.data.augmentation import compute_row_key
from splittraining.party.data.order import compute_epoch_order
from support import own_code
from support.cases import Case, Table, a_norm_case, a_vanilla_case
from support.oracle import Rows
from support.runs import FinishedRun, run_case


class FormattedCase(Case):
    """A case whose tables are written in a format of its own."""

    write_table: Callable[[Path, Table], None]

    def write(self, folder: Path) -> Path:
        for claim, parts in self.tables.items():
            for part, table in parts.items():
                (folder / "data" / claim).mkdir(parents=True, exist_ok=True)
                self.write_table(folder / "data" / claim / part, table)
        tables, self.tables = self.tables, {}
        try:
            return super().write(folder)
        finally:
            self.tables = tables


def write_parquet(path: Path, table: Table) -> None:
    images = pa.array(table["x"].tolist(), pa.list_(pa.list_(pa.list_(pa.float32()))))
    parquet.write_table(pa.table({"x": images, "y": table["y"]}), path, row_group_size=3)


def write_safetensors(path: Path, table: Table) -> None:
    save_file(table, path)


def write_image_folder(path: Path, table: Table) -> None:
    for row, (image, label) in enumerate(zip(table["x"], table["y"], strict=True)):
        (path / f"class-{label}").mkdir(parents=True, exist_ok=True)
        pixels = np.round(image[0] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"class-{label}" / f"{row:03}.png")


FORMATS: dict[str, tuple[Callable[[Path, Table], None], str, str]] = {
    "Parquet": (write_parquet, "x", "y"),
    "SafeTensors": (write_safetensors, "x", "y"),
    "ImageFolder": (write_image_folder, "image", "label"),
}


def a_case_of_images() -> Case:
    """Returns the image classifier over pixels of eight bits, its rows by class, as an ImageFolder has them."""
    case = a_norm_case(dropout="0.2")
    generator = np.random.default_rng(4)
    for parts in case.tables.values():
        for table in parts.values():
            rows = len(table["y"])
            table["x"] = generator.integers(0, 256, size=(rows, 1, 8, 8)).astype(np.float32) / np.float32(255)
            table["y"] = np.sort(table["y"])
    return case


def in_format(case: Case, name: str) -> FormattedCase:
    write_table, image, label = FORMATS[name]

    def change(spec: dict[str, Any]) -> None:
        for client in spec["clients"]:
            client["data"] |= {
                "format": name,
                "train": {"path": "train"},
                "test": {"path": "test"},
                "inputs": [{"name": "x", "columns": [image]}],
                "label": {"columns": [label]},
            }
            if name == "ImageFolder":
                client["data"]["classes"] = ["class-0", "class-1", "class-2"]

    changed = case.changed(change)
    formatted = FormattedCase(changed.spec, changed.tables, changed.name, changed.source)
    formatted.write_table = write_table
    return formatted


def read_weights(run: FinishedRun) -> list[bytes]:
    assert run.outcome.exit_code == 0, run.outcome
    return [(run.folder / party / "result" / "segments.safetensors").read_bytes() for party in ("server", "north")]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return read_weights(run_case(a_case_of_images(), tmp_path_factory.mktemp("npz")))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_trains_the_same_weights_as_npz(name: str, expected: list[bytes], tmp_path: Path) -> None:
    assert read_weights(run_case(in_format(a_case_of_images(), name), tmp_path)) == expected


def with_transform(case: Case, function: str) -> Case:
    def change(spec: dict[str, Any]) -> None:
        for client in spec["clients"]:
            client["data"]["transform"] = {"entrypoint": f"own_code:{function}", "arguments": {"scale": "0.5"}}

    changed = case.changed(change)
    changed.source["own_code.py"] = Path(own_code.__file__).read_text(encoding="utf-8")
    return changed


def train_by_hand(case: Case) -> dict[str, torch.Tensor]:
    """Trains the whole model on rows that get their noise by hand, each from its own generator."""
    plan, model, loss = case.plan, case.build_model, torch.nn.functional.cross_entropy
    torch.manual_seed(plan.seed)
    whole = model().train()
    optimizer = torch.optim.SGD(whole.parameters(), lr=float(plan.optimizer["learningRate"]))
    for epoch in range(plan.rounds):
        for rows in case.rows:
            noisy = torch.stack([add_noise_by_hand(rows, index, epoch, plan.seed) for index in range(len(rows))])
            order = torch.as_tensor(compute_epoch_order(plan.seed, rows.client, epoch, len(rows)))
            for batch in order.split(plan.batch_size):
                optimizer.zero_grad()
                loss(whole(noisy[batch]), rows.label[batch]).backward()
                optimizer.step()
    return dict(whole.state_dict())


def add_noise_by_hand(rows: Rows, index: int, epoch: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(compute_row_key(seed, rows.client, epoch, index))
    return rows.inputs["x"][index] + 0.5 * torch.randn(5, generator=generator)


def test_keyed_augmentation_equals_training_by_hand_on_the_same_noise(tmp_path: Path) -> None:
    case = a_vanilla_case({"north": 7, "south": 5})
    run = run_case(with_transform(case, "add_noise"), tmp_path)
    assert run.outcome.exit_code == 0, run.outcome
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are split by thread; the parties run with one
    try:
        expected = train_by_hand(case)
    finally:
        torch.set_num_threads(threads)
    merged = run.merge_segments(["server", "north"])
    assert merged.keys() == expected.keys()
    assert all(torch.equal(merged[name], expected[name]) for name in expected)


def test_a_transform_that_draws_from_the_process_is_refused_by_every_party(tmp_path: Path) -> None:
    run = run_case(with_transform(a_case_of_images(), "add_global_noise"), tmp_path)
    assert run.outcome.exit_code == ExitCode.MODEL_CODE
    assert "draws from a generator of the whole process" in str(run.outcome)
