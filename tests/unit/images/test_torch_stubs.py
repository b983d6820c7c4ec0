"""Stubs for libraries that a CPU never calls: which symbols they hold, and that the loader takes them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from image_builder.torch_stubs import Needs, compile_stub, parse_needs, plan_stubs, read_needs, render_stub

DYNAMIC = """
  Tag        Type                         Name/Value
 0x0000000000000001 (NEEDED)             Shared library: [libcublas.so.13]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x000000000000000e (SONAME)             Library soname: [libtorch_cuda.so]
"""
VERSIONS = """
Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libcublas.so.13  Cnt: 1
  0x0010:   Name: libcublas.so.13  Flags: none  Version: 9
  0x0020: Version: 1  File: libc.so.6  Cnt: 1
  0x0030:   Name: GLIBC_2.2.5  Flags: none  Version: 2
"""
SYMBOLS = """
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND
     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND cublasCreate_v2@libcublas.so.13 (9)
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND malloc@GLIBC_2.2.5 (2)
     3: 0000000000000000     0 NOTYPE  WEAK   DEFAULT  UND __gmon_start__
     4: 0000000000001000    16 FUNC    GLOBAL DEFAULT   12 torch_of_its_own
"""

needs_a_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("readelf") is None, reason="needs gcc and binutils"
)


def test_what_a_library_asks_of_others_is_read_from_it():
    needs = parse_needs(DYNAMIC, VERSIONS, SYMBOLS)
    assert needs.libraries == {"libcublas.so.13", "libc.so.6"}
    assert needs.version_homes == {"libcublas.so.13": "libcublas.so.13", "GLIBC_2.2.5": "libc.so.6"}
    assert needs.undefined == {("cublasCreate_v2", "libcublas.so.13"), ("malloc", "GLIBC_2.2.5")}
    assert needs.defined == {"torch_of_its_own"}


def test_a_stub_holds_what_its_library_is_asked_for_and_nothing_of_libraries_that_are_there():
    needs = parse_needs(DYNAMIC, VERSIONS, SYMBOLS)
    assert plan_stubs(needs, present=[]) == {"libcublas.so.13": {"libcublas.so.13": {"cublasCreate_v2"}}}
    assert plan_stubs(needs, present=["libcublas.so.13"]) == {}


def test_symbols_whose_library_is_not_told_go_into_one_stub_unless_somebody_has_them():
    needs = Needs(
        libraries={"libnccl.so.2", "libcufft.so.12", "libother.so.1"},
        undefined={("ncclSend", ""), ("given", ""), ("PyList_New", "")},
        defined={"given"},
    )
    assert plan_stubs(needs, present=[]) == {"libcufft.so.12": {"": {"ncclSend"}}, "libnccl.so.2": {}}


def test_the_same_symbols_are_written_in_the_same_order():
    first = render_stub({"V2": {"b", "a"}, "V1": {"c"}})
    assert first == render_stub({"V1": {"c"}, "V2": {"a", "b"}})
    assert first[1] == "V1 { global: c; };\nV2 { global: a; b; };\n"


def ask_library(path: Path) -> subprocess.CompletedProcess[str]:
    """Calls a library in an interpreter of its own: this one may have loaded torch, and CUDA's libraries with it."""
    code = f"import ctypes; print(ctypes.CDLL({str(path)!r}).ask())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@needs_a_compiler
def test_a_library_loads_with_a_stub_in_place_of_what_it_needs(tmp_path: Path):
    def compile_library(name: str, source: str, *flags: str) -> Path:
        (tmp_path / "source.c").write_text(source)
        command = ["gcc", "-shared", "-fPIC", "-o", name, "source.c", f"-Wl,-soname,{name}", *flags]
        subprocess.run(command, cwd=tmp_path, check=True)
        return tmp_path / name

    (tmp_path / "versions").write_text("FFT_12 { global: cufftPlan; };\n")
    real = compile_library("libcufft.so.12", "int cufftPlan(void) { return 0; }", "-Wl,--version-script=versions")
    user = compile_library(
        "libuser.so",
        "int cufftPlan(void); int ask(void) { return cufftPlan(); }",
        "-L.", "-l:libcufft.so.12", "-Wl,-rpath,$ORIGIN",
    )  # fmt: skip
    real.unlink()
    assert "libcufft.so.12: cannot open shared object file" in ask_library(user).stderr
    stubs = plan_stubs(read_needs(user), present=[])
    assert stubs == {"libcufft.so.12": {"FFT_12": {"cufftPlan"}}}
    compile_stub("libcufft.so.12", stubs["libcufft.so.12"], real)
    assert ask_library(user).stdout.strip() == "1"  # an error code, not a crash
