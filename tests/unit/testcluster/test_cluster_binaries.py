"""Which bytes a binary of the test cluster depends on, and what is said where Go is missing or old."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.binaries import BINARIES, Binary, Builder, check_go_version, find_builder, main
from cluster.refusal import ClusterRefused


def a_module(folder: Path) -> Binary:
    class Local(Binary):
        @property
        def folder(self) -> Path:
            return folder

    for name, text in {"go.mod": "module x\n", "go.sum": "", "main.go": "package main\n"}.items():
        (folder / name).write_text(text)
    return Local("x", "x")


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go", "more.go"])
def test_a_change_of_pins_or_source_makes_another_binary(tmp_path: Path, file: str):
    binary = a_module(tmp_path)
    before = binary.compute_key("go1.26.0")
    (tmp_path / file).write_text("// changed\n")
    assert binary.compute_key("go1.26.0") != before


def test_a_test_of_its_own_makes_no_other_binary_and_another_compiler_does(tmp_path: Path):
    binary = a_module(tmp_path)
    before = binary.compute_key("go1.26.0")
    (tmp_path / "main_test.go").write_text("package main\n")
    assert binary.compute_key("go1.26.0") == before
    assert binary.compute_key("go1.26.1") != before


def test_every_binary_has_pins_and_the_ones_of_ours_have_source():
    for binary in BINARIES.values():
        assert (binary.folder / "go.sum").is_file()
        assert binary.package.startswith("helm.sh/") or list((binary.folder / binary.package).glob("*.go"))


@pytest.mark.parametrize("said", ["go1.25.9", "", "devel"])
def test_a_compiler_that_is_too_old_is_refused_by_its_version(said: str):
    with pytest.raises(ClusterRefused, match=r"Needed: Go 1\.26 or newer"):
        check_go_version(said)


@pytest.mark.parametrize("said", ["go1.26", "go1.27.1\n", "go2.0"])
def test_a_newer_compiler_will_do(said: str):
    check_go_version(said)


def test_a_machine_without_go_is_told_so(tmp_path: Path):
    with pytest.raises(ClusterRefused, match="found no `go`"):
        find_builder({"PATH": str(tmp_path), "HOME": str(tmp_path)})


def test_what_is_built_is_not_built_again(tmp_path: Path):
    binary = BINARIES["pause"]
    there = tmp_path / f"pause-{binary.compute_key('go1.26.0')}"
    there.write_text("a program")
    assert Builder(tmp_path, "go1.26.0", {"PATH": ""}).build("pause") == there


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    assert main(["kubectl"]) == 1
    assert "kubectl: unknown. Allowed: kube, etcd" in capsys.readouterr().err
