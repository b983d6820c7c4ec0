"""Lets PyPI's torch for CUDA run without CUDA's libraries: for test images, which have no GPU.

PyPI has torch for Linux on x86-64 with CUDA only, and loading it loads libraries of four gigabytes, none of which a CPU
ever calls. Each library that torch needs and that is missing becomes a stub with the same soname, the same symbols and
the same symbol versions, all read from torch's own files. A stub's functions return 1, which is an error code in every
one of these libraries. `torch.cuda.is_available()` is then False. Needs readelf and gcc.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from image_builder.refusal import BuildRefused

_LIBRARIES = re.compile(r"lib(cublas|cudnn|cufft|cufile|cupti|cusolver|cusparse|nccl|nvrtc|nvshmem|nvJitLink)")
# Number, value, size, type, binding, visibility, section, name.
_SYMBOL_WORDS = 8
# Found in the interpreter, in libc, or nowhere on purpose.
_ELSEWHERE = re.compile(r"_?Py|_ITM_|__gmon|__cxa_")
# Parts of torch that nothing here runs: headers, a compiler for protocol buffers, torch's own tests.
_UNUSED = ("torch/include", "torch/share", "torch/test", "torch/bin/protoc*", "nvidia/*/include")


@dataclass
class Needs:
    """What one library, or all of them together, ask of others."""

    libraries: set[str] = field(default_factory=set)
    version_homes: dict[str, str] = field(default_factory=dict)
    undefined: set[tuple[str, str]] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)

    def add(self, other: Needs) -> None:
        """Takes in what another library asks for and gives."""
        self.libraries |= other.libraries
        self.version_homes |= other.version_homes
        self.undefined |= other.undefined
        self.defined |= other.defined


def parse_needs(dynamic: str, versions: str, symbols: str) -> Needs:
    """Parses what ``readelf`` tells of one library.

    Args:
        dynamic: Its dynamic section (``-dW``).
        versions: Its symbol versions (``-VW``).
        symbols: Its dynamic symbols (``--dyn-syms -W``).
    """
    needs = Needs(libraries=set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)))
    home = ""
    for line in versions.splitlines():
        if file := re.search(r"File: (\S+)", line):
            home = file[1]
        elif home and (version := re.search(r"Name: (\S+)\s+Flags", line)):
            needs.version_homes[version[1]] = home
    for line in symbols.splitlines():
        words = line.split()
        if len(words) < _SYMBOL_WORDS or not words[0].rstrip(":").isdigit():
            continue
        name, _, version_name = words[7].partition("@")
        if words[6] != "UND":
            needs.defined.add(name)
        elif words[4] == "GLOBAL":
            needs.undefined.add((name, version_name))
    return needs


def plan_stubs(needs: Needs, present: Iterable[str]) -> dict[str, dict[str, set[str]]]:
    """Decides which stubs there must be: symbols by version ("" for none) by soname.

    Args:
        needs: What all libraries that stay ask for.
        present: Names of the libraries that are there.
    """
    missing = sorted(name for name in needs.libraries - set(present) if _LIBRARIES.match(name))
    stubs: dict[str, dict[str, set[str]]] = {name: {} for name in missing}
    for name, version in needs.undefined:
        home = needs.version_homes.get(version, "")
        if version and home in stubs:
            stubs[home].setdefault(version, set()).add(name)
        elif missing and not version and name not in needs.defined and not _ELSEWHERE.match(name):
            # Its library is not told. The loader looks through all of them, so any one will do.
            stubs[missing[0]].setdefault("", set()).add(name)
    return stubs


def render_stub(versions: dict[str, set[str]]) -> tuple[str, str]:
    """Returns a stub's C source and its version script, which is empty where no symbol has a version."""
    names = sorted(set().union(*versions.values()))
    source = "".join(
        f'int stub_{index}(void) __asm__("{name}");\nint stub_{index}(void) {{ return 1; }}\n'
        for index, name in enumerate(names)
    )
    script = "".join(
        f"{version} {{ global: {'; '.join(sorted(symbols))}; }};\n"
        for version, symbols in sorted(versions.items())
        if version
    )
    return source, script


def write_stubs(packages: Path) -> list[str]:
    """Writes the stubs that torch in a folder of packages needs, and removes what no CPU run uses.

    Returns:
        The stubs' sonames.

    Raises:
        BuildRefused: gcc or readelf is missing.
    """
    if lacking := [tool for tool in ("gcc", "readelf") if shutil.which(tool) is None]:
        raise BuildRefused(
            f"The image without CUDA needs {' and '.join(lacking)}. To do: apt install gcc binutils, or build the "
            "image with CUDA (`make images`)"
        )
    for pattern in _UNUSED:
        for path in packages.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    needs = Needs()
    for library in sorted([*packages.glob("torch/lib/*.so*"), *packages.glob("torch/_C*.so")]):
        needs.add(read_needs(library))
    stubs = plan_stubs(needs, (path.name for path in packages.rglob("*.so*")))
    for soname, versions in sorted(stubs.items()):
        compile_stub(soname, versions, packages / "torch" / "lib" / soname)
    return sorted(stubs)


def read_needs(library: Path) -> Needs:
    """Reads what a library asks for and gives."""
    texts = [
        subprocess.run(["readelf", *flags, str(library)], check=True, capture_output=True, text=True).stdout
        for flags in (["-dW"], ["-VW"], ["--dyn-syms", "-W"])
    ]
    return parse_needs(*texts)


def compile_stub(soname: str, versions: dict[str, set[str]], output: Path) -> None:
    """Compiles one stub; the same symbols give the same bytes."""
    source, script = render_stub(versions)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stub.c").write_text(source)
        (Path(folder) / "versions").write_text(script)
        named = ["-Wl,--version-script=versions"] if script else []
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-nostdlib", *named, f"-Wl,-soname,{soname}"]
        subprocess.run([*command, "-o", str(output.absolute()), "stub.c"], cwd=folder, check=True)
