"""Starts the measurement of the raw channel and shows it: see wire_pair.py."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from summary import Spread, render_table, summarize

_HERE = Path(__file__).parent
_ONLY_AES_128_GCM = """
openssl_conf = bench
[bench]
ssl_conf = bench_ssl
[bench_ssl]
system_default = bench_tls
[bench_tls]
Ciphersuites = TLS_AES_128_GCM_SHA256
"""


@dataclass(frozen=True)
class WireResult:
    """One size, there and back."""

    size_bytes: int
    tls_ms: Spread
    link_ms: Spread
    ratio: float
    """Of the medians."""
    tls_gb_per_s: float
    link_gb_per_s: float


def measure_wire(*, rounds: int) -> list[WireResult]:
    """Measures Link to Link beside a TLS 1.3 socket, in two processes of their own."""
    with TemporaryDirectory() as folder:
        configuration = Path(folder) / "openssl.cnf"
        configuration.write_text(_ONLY_AES_128_GCM, encoding="ascii")
        environment = {
            **os.environ,
            "OPENSSL_CONF": str(configuration),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_HERE.parent), os.environ.get("PYTHONPATH")))),
        }
        command = [sys.executable, str(_HERE / "wire_pair.py"), str(rounds)]
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    seconds: Mapping[str, Mapping[str, Sequence[float]]] = json.loads(output)
    return [_build_result(int(size), seconds["tls"][size], seconds["link"][size]) for size in seconds["tls"]]


def render_wire(results: Sequence[WireResult]) -> str:
    """Renders the table of round trips."""
    rows = [
        (
            f"{each.size_bytes >> 10} KiB",
            each.tls_ms.render(),
            each.link_ms.render(),
            f"{each.ratio:.2f}",
            f"{each.tls_gb_per_s:.2f}",
            f"{each.link_gb_per_s:.2f}",
        )
        for each in results
    ]
    header = ("value", "TLS socket, round trip ms", "link, round trip ms", "ratio", "TLS GB/s", "link GB/s")
    return render_table(header, rows)


def _build_result(size_bytes: int, tls_s: Sequence[float], link_s: Sequence[float]) -> WireResult:
    tls, link = statistics.median(tls_s), statistics.median(link_s)
    return WireResult(
        size_bytes=size_bytes,
        tls_ms=summarize([1000 * value for value in tls_s]),
        link_ms=summarize([1000 * value for value in link_s]),
        ratio=link / tls,
        tls_gb_per_s=2 * size_bytes / tls / 1e9,
        link_gb_per_s=2 * size_bytes / link / 1e9,
    )
