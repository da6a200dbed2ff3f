"""Writes fixture sets: `gen_fixtures.py --kind KIND --out DIRECTORY NAME...`, or the names of a kind with `--list`.

Run by `cargo xtask gen-fixtures`, which owns the manifest. The files of a set go to DIRECTORY/NAME, under the paths
they have in fixtures/; a line `done NAME` on standard output says that they are all there.
"""

import argparse
import importlib
import json
import os
from pathlib import Path

# Kinds whose numbers should not depend on the CPU: the code paths every x86-64 machine has. The others would be too
# slow that way (`published`), or are defined by the path a current CPU takes (`processor`).
PORTABLE = {"models", "ops", "checkpoints"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.kind in PORTABLE:
        # Both are read when torch is first imported.
        os.environ["ATEN_CPU_CAPABILITY"] = "default"
        os.environ["MKL_CBWR"] = "COMPATIBLE"
    module = importlib.import_module(f"fixtures.{arguments.kind}")
    if arguments.list:
        print(json.dumps(module.NAMES))
        return
    prepare_torch(arguments.kind)
    for name in arguments.names:
        module.generate(name, arguments.out / name)
        print(f"done {name}", flush=True)


def prepare_torch(kind):
    """One thread, because the order of additions depends on their number."""
    import torch

    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    # oneDNN picks its kernels by CPU.
    torch.backends.mkldnn.enabled = kind not in PORTABLE


if __name__ == "__main__":
    main()
