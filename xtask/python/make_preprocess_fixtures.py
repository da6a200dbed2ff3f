"""Writes fixtures/preprocess/cases.json: `make_preprocess_fixtures.py --out FILE`.

Every case names deterministic input (SplitMix64, see `noise`) and the SHA-256 of what a library makes of it:
torchvision, Pillow 13 and 12, OpenCV, and the processors of transformers 5 and 4 on top of them. Each library gets
a process of its own, because two versions of one do not go together; `preprocess_cases` computes, this script starts
the processes and writes the file. torchvision resizes `uint8` with integer weights only on a CPU with AVX2 or better,
so the capability is recorded, and a machine without it is refused.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
# The parts of the file, and the packages that each needs over those of the main environment.
PARTS = {
    "torchvision": None,
    "pillow": None,
    "pillow-12": "requirements-pixels.txt",
    "opencv-linear": "requirements-pixels.txt",
    "transformers-4": "requirements-transformers-4.txt",
}


def overlay(requirements):
    """The folder with these packages, made on first use beside the environment that runs this."""
    text = (FOLDER / requirements).read_bytes()
    folder = Path(sys.prefix) / "overlays" / f"{Path(requirements).stem}-{hashlib.sha256(text).hexdigest()[:12]}"
    if not folder.exists():
        half_made = folder.with_suffix(".half-made")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        install += ["--upgrade", "--target", str(half_made), "--requirement", str(FOLDER / requirements)]
        subprocess.run(install, check=True, stdout=sys.stderr)
        half_made.rename(folder)
    return folder


def run_part(part, requirements):
    """The cases of one part, computed in a process of its own."""
    folders = ([str(overlay(requirements))] if requirements else []) + [str(FOLDER)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    script = [sys.executable, str(FOLDER / "preprocess_cases.py"), part]
    return json.loads(subprocess.run(script, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cases = {"versions": {}, "resize": [], "processors": [], "views": []}
    for part, requirements in PARTS.items():
        made = run_part(part, requirements)
        cases["versions"][part] = made["versions"]
        for section in ("resize", "processors", "views"):
            cases[section] += made.get(section, [])
    lines = [f'  "versions": {json.dumps(cases["versions"])}']
    for name in ("resize", "processors", "views"):
        entries = ",\n".join(f"    {json.dumps(case)}" for case in cases[name])
        lines.append(f'  "{name}": [\n{entries}\n  ]')
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    temporary.rename(arguments.out)


if __name__ == "__main__":
    main()
