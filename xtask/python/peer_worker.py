"""Holds the model of one peer and runs it when told: started by `cargo xtask bench-peers`, one process a peer.

The first line on standard output says that it is ready, `{"ready": {"load": seconds}}`, or why it never will be,
`{"unavailable": "why"}`. Then every line `forward CLIP [FILE]` on standard input is one forward, of as many clips as
the batch has from that one on; the answer is `{"seconds": …}`. FILE receives the logits, float32, as they lie in memory.
The end of the input ends the worker.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

from peers import case as cases
from peers import making, running


def main():
    parser = cases.arguments(__doc__)
    parser.add_argument("peer", choices=running.PEERS)
    options = parser.parse_args()
    # Libraries print what they like; the answers keep standard output to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    cases.quiet(options.threads)
    case = cases.Case(options)
    clips = making.clips(case, "pixel_values")
    try:
        # Importing a library is not loading a model.
        for library in ("onnxruntime", "openvino"):
            if options.peer.startswith(library):
                importlib.import_module(library)
        start = time.perf_counter()
        run = running.PEERS[options.peer](case, options.threads)
        load = time.perf_counter() - start
        # Compilers do their work in the first forward.
        run(select(clips, 0, options.batch))
    except (running.Unavailable, ImportError) as reason:
        answer(unavailable=str(reason))
        return
    answer(ready={"load": load})
    for line in sys.stdin:
        _, clip, *file = line.split(maxsplit=2)
        pixel_values = select(clips, int(clip), options.batch)
        start = time.perf_counter()
        logits = run(pixel_values)
        seconds = time.perf_counter() - start
        if file:
            np.ascontiguousarray(logits, dtype="<f4").tofile(file[0].strip())
        answer(seconds=seconds)


def select(clips, first, batch):
    """A batch that begins with clip `first` and goes round."""
    return np.ascontiguousarray(clips[[(first + i) % len(clips) for i in range(batch)]])


if __name__ == "__main__":
    main()
