"""Compiles CUDA C++ to PTX with NVRTC and says what ptxas makes of it. Needs no GPU, driver or CUDA toolkit.

For every kernel file and architecture: NVRTC writes PTX, which is marked as version 8.0 so that drivers from R525 on
take it; ptxas 12.0 proves that it needs nothing newer, and ptxas 13.0 reports registers and spills. Prints one JSON
object per file and architecture.
"""

import argparse
import ctypes
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nvidia

# The oldest version of PTX that has everything in use: mma.sync, cp.async, TMA, wgmma.
VERSION = "8.0"


def wheel_file(pattern: str) -> Path:
    """The one file of the installed wheels that matches."""
    found = sorted(path for root in nvidia.__path__ for path in Path(root).glob(pattern))
    if len(found) != 1:
        sys.exit(f"expected one file {pattern} in the wheels, found {found}")
    return found[0]


class Nvrtc:
    """The run-time compiler, as a library."""

    def __init__(self) -> None:
        # Loaded first and by its full path; NVRTC then finds it by name.
        ctypes.CDLL(str(wheel_file("cu13/lib/libnvrtc-builtins.so.*")))
        self.library = ctypes.CDLL(str(wheel_file("cu13/lib/libnvrtc.so.*")))

    def text(self, program: ctypes.c_void_p, what: str) -> str:
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw[: size.value - 1].decode()

    def ptx(self, source: Path, include: Path, architecture: str) -> str:
        program = ctypes.c_void_p()
        name = source.name.encode()
        self.library.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), name, 0, None, None)
        options = [f"--gpu-architecture={architecture}", "--std=c++17", f"--include-path={include}"]
        # Or a generic lambda would be a function of the host.
        options.append("--device-as-default-execution-space")
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = self.library.nvrtcCompileProgram(program, len(options), array)
        log = self.text(program, "ProgramLog")
        if failed:
            sys.exit(f"{source.name} for {architecture}:\n{log}")
        if log.strip():
            print(log, file=sys.stderr)
        ptx = self.text(program, "PTX")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        # A hint that only newer versions know.
        ptx = re.sub(r'^\s*\.pragma "used_bytes_mask .*\n', "", ptx, flags=re.MULTILINE)
        return re.sub(r"^\.version .*$", f".version {VERSION}", ptx, count=1, flags=re.MULTILINE)


def assemble(ptxas: Path, ptx: Path, architecture: str) -> str:
    """What ptxas says of its work; its errors end the program, and so does wgmma that it makes wait."""
    target = architecture.replace("compute", "sm")
    command = [ptxas, f"-arch={target}", "-v", ptx, "-o", ptx.with_suffix(".cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{ptx.name}: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    if "wgmma.mma_async instructions are serialized" in done.stderr + done.stdout:
        # It does so where it cannot prove that the registers of a product under way are left alone.
        sys.exit(f"{ptx.name}: {done.stdout}{done.stderr}")
    return done.stderr + done.stdout


def resources(report: str) -> dict[str, dict[str, int]]:
    """Registers, bytes spilled and static shared memory of each kernel."""
    kernels = {}
    for name, body in re.findall(r"entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", report, re.DOTALL):

        def number(pattern: str, body: str = body) -> int:
            found = re.search(pattern, body)
            return int(found[1]) if found else 0

        kernels[name] = {
            "registers": number(r"Used (\d+) registers"),
            "spilled": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            "shared": number(r"(\d+) bytes smem"),
        }
    return kernels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--include", type=Path, required=True, help="folder of the headers")
    parser.add_argument("--output", type=Path, required=True, help="folder for the PTX")
    parser.add_argument("jobs", nargs="+", metavar="FILE.cu:ARCHITECTURE")
    arguments = parser.parse_args()
    nvrtc = Nvrtc()
    oldest = wheel_file("cuda_nvcc/bin/ptxas")
    newest = wheel_file("cu13/bin/ptxas")
    for job in arguments.jobs:
        path, architecture = job.rsplit(":", 1)
        source = Path(path)
        ptx = nvrtc.ptx(source, arguments.include, architecture)
        output = arguments.output / f"{source.stem}.{architecture}.ptx"
        output.write_text(ptx)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / output.name
            copy.write_text(ptx)
            assemble(oldest, copy, architecture)
            report = assemble(newest, copy, architecture)
        kernels = resources(report)
        print(json.dumps({"file": output.name, "architecture": architecture, "kernels": kernels}), flush=True)


if __name__ == "__main__":
    main()
