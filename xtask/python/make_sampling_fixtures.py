"""Makes the table of sampled frames that the tests of sampling read.

Usage: python make_sampling_fixtures.py OUT

Writes OUT/cases.json: a list of {mode, num_frames, stride, num_clips, seed, sample, total, clips}. The frames are computed
with NumPy, by the formulas of the code that each mode is named after; `clips` is null where that code fails. Random
numbers are those of SplitMix64, which the Rust crate uses too: what is compared are the formulas.
"""

import json
import sys
from pathlib import Path

import numpy as np

STEP = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


class SplitMix64:
    """Stream `stream` under `seed`."""

    def __init__(self, seed, stream):
        self.state = self.mix((seed + STEP * (stream + 1)) & MASK)

    @staticmethod
    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def randint(self, low, high):
        """From low to high - 1; fails as NumPy's does when there is no such number."""
        if low >= high:
            raise ValueError("low >= high")
        self.state = (self.state + STEP) & MASK
        return low + ((self.mix(self.state) * (high - low)) >> 64)


def uniform(count, stride, clips, total, random):
    if count > total:
        raise ValueError("too few frames")
    return [[i * total // count for i in range(count)]]


def pipeline(count, stride, clips, total, random):
    indices = np.linspace(0, count * stride - 1, num=count, dtype=np.int64)
    if indices.max() >= total:
        raise ValueError("too few frames")
    return [indices]


def window(count, stride, total, random):
    length = count * stride
    end = random.randint(length, total)
    return np.clip(np.linspace(end - length, end, num=count), end - length, end - 1).astype(np.int64)


def guide(count, stride, clips, total, random):
    return [window(count, stride, total, random) for _ in range(clips)]


def pretrain_clip(count, stride, total, random):
    length = count * stride
    average = total - length + 1
    # Numbered from 1, as there.
    offset = (random.randint(0, average) if average > 0 else 0) + 1
    taken = []
    for _ in range(count):
        taken.append(offset - 1)
        if offset + stride < total:
            offset += stride
    return taken


def pretrain(count, stride, clips, total, random):
    return [pretrain_clip(count, stride, total, random) for _ in range(clips)]


def dense_clip(count, stride, total, random):
    if total > count * stride:
        return window(count, stride, total, random)
    index = np.linspace(0, total, num=total // stride)
    index = np.concatenate((index, np.ones(count - total // stride) * total))
    return np.clip(index, 0, total - 1).astype(np.int64)


def dense_train(count, stride, clips, total, random):
    return [dense_clip(count, stride, total, random) for _ in range(clips)]


def dense_test(count, stride, clips, total, random):
    frames = list(range(0, total, stride))
    frames += [frames[-1]] * (count - len(frames))
    if clips == 1:
        # Ours: the official code divides by zero.
        start = (len(frames) - count) // 2
        return [frames[start : start + count]]
    step = max(1.0 * (len(frames) - count) / (clips - 1), 0)
    return [frames[int(clip * step) :][:count] for clip in range(clips)]


def sparse_train(count, stride, clips, total, random):
    part = total // count
    if part == 0:
        return [[0] * count for _ in range(clips)]
    return [[i * part + random.randint(0, part) for i in range(count)] for _ in range(clips)]


def sparse_test(count, stride, clips, total, random):
    tick = total / float(count)
    if clips == 1:
        return [[int(tick * x) for x in range(count)]]
    # The official code knows two clips.
    every = sorted([int(tick / 2.0 + tick * x) for x in range(count)] + [int(tick * x) for x in range(count)])
    return [every[clip::2] for clip in range(2)]


MODES = {
    "uniform": (uniform, [None], [1]),
    "pipeline": (pipeline, [None, 3], [1]),
    "guide": (guide, [None, 4], [1, 3]),
    "pretrain": (pretrain, [None, 2], [1, 2]),
    "dense-train": (dense_train, [None, 2], [1, 2]),
    "dense-validation": (dense_train, [None], [1]),
    "dense-test": (dense_test, [None, 3], [1, 2, 5, 7]),
    "sparse-train": (sparse_train, [None], [1, 2]),
    "sparse-validation": (sparse_train, [None], [1]),
    "sparse-test": (sparse_test, [None], [1, 2]),
}
DEFAULT_STRIDES = {"pipeline": 1, "guide": 1, "pretrain": 4, "dense-train": 4, "dense-validation": 4, "dense-test": 4}


def cases():
    for name, (rule, strides, clip_counts) in MODES.items():
        for count in [1, 8, 16]:
            for stride in strides:
                for clips in clip_counts:
                    for total in [1, 7, 16, 17, 61, 64, 65, 122, 250, 300]:
                        seed, sample = 1000 * count + total, clips
                        actual = stride or DEFAULT_STRIDES.get(name, 1)
                        try:
                            found = rule(count, actual, clips, total, SplitMix64(seed, sample))
                            found = [[int(index) for index in clip] for clip in found]
                        except ValueError:
                            found = None
                        yield {
                            "mode": name, "num_frames": count, "stride": stride, "num_clips": clips, "seed": seed,
                            "sample": sample, "total": total, "clips": found,
                        }


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case) for case in cases())
    (out / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
