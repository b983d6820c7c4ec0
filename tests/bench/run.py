"""The benchmark: `python tests/bench/run.py --json build/bench.json [--device cpu|cuda] [--quick]`.

What each part measures, and how to read it, is in docs/benchmarks.md. Every process that is started from here imports
this file, so that only the standard library may be imported at its top.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> int:
    """Measures everything, prints tables and writes the JSON file."""
    arguments = _parse_arguments()
    sys.path[:0] = [str(HERE), str(HERE.parent)]  # for the benchmark's modules and for tests/support
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    results: dict[str, Any] = {}
    for name, result in _measure(_choose_device(arguments.device), quick=arguments.quick):
        results[name] = result
        if arguments.json is not None:  # after each part, so that what was measured is there whatever comes after it
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if arguments.json is not None:
        print(f"\nWritten to {arguments.json}")  # noqa: T201
    return 0


def _measure(device: str, *, quick: bool) -> Iterator[tuple[str, Any]]:
    """Yields name and figures of every part."""
    from device import measure_equality, render_equality  # noqa: PLC0415
    from machine import describe_machine  # noqa: PLC0415
    from schedules import measure_schedules, render_schedules  # noqa: PLC0415
    from split_step import measure_split_steps, render_bytes, render_memory, render_steps  # noqa: PLC0415
    from startup import measure_startup, render_startup  # noqa: PLC0415
    from wire import measure_wire, render_wire  # noqa: PLC0415

    machine = describe_machine(device)
    _show("Machine", "\n".join(f"{name}: {value}" for name, value in machine.items()))
    yield "machine", machine
    startup = measure_startup(repeats=1 if quick else 3)
    _show("From `splittraining run` on example 01, cold", render_startup(startup))
    yield "startup", asdict(startup)
    steps = measure_split_steps(rounds=3 if quick else 12, block_steps=10 if quick else 20, device=device)
    _show("A split step against the same step unsplit: median [quartiles] over rounds", render_steps(steps))
    _show("Tensor bytes of those trainings, both directions", render_bytes(steps))
    _show("Memory per party, between two steps", render_memory(steps))
    yield "split_step", [each.as_json() for each in steps]
    wire = measure_wire(rounds=3 if quick else 8)
    _show("The raw channel beside a TLS 1.3 socket (AES-128-GCM)", render_wire(wire))
    yield "wire", [asdict(each) for each in wire]
    equality = measure_equality(device)
    _show("Cut against uncut, the same engine in one process", render_equality(equality))
    yield "equality", [asdict(each) for each in equality]
    schedules = measure_schedules(repeats=1 if quick else 3, rounds=2 if quick else 4, device=device)
    _show("A round of each schedule against Sequential's with the same rows", render_schedules(schedules))
    yield "schedules", [asdict(each) for each in schedules]


def _choose_device(wanted: str) -> str:
    import torch  # noqa: PLC0415

    if wanted == "cuda" and not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no CUDA device here: everything is measured on the CPU.")  # noqa: T201
        return "cpu"
    return wanted


def _show(title: str, text: str) -> None:
    print(f"\n{title}\n\n{text}", flush=True)  # noqa: T201


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures split training on this machine.")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where steps are computed")
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it runs, not to quote")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
