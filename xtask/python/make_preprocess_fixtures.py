"""Writes fixtures/preprocess/cases.json: `make_preprocess_fixtures.py --out FILE [--resizes N] [--seed S]`.

Every case names deterministic input bytes (SplitMix64, see `noise`) and the SHA-256 of what torchvision or the
processors of transformers make of them. torchvision resizes `uint8` with integer weights only on a CPU with AVX2 or
better, so the capability is recorded, and a machine without it is refused.
"""

import argparse
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import torch
import torchvision
import transformers
from torchvision.transforms.v2 import functional
from transformers import VideoMAEImageProcessor, VideoMAEVideoProcessor

# Sizes (from, to) that a random draw would miss: one pixel, equal edges, tiny models on large clips. Single pixels,
# 1×1, are left out: an assertion inside torch fails on them.
RESIZES = [
    ((1, 2), (5, 7)),
    ((9, 7), (1, 2)),
    ((9, 7), (2, 1)),
    ((64, 48), (64, 20)),
    ((64, 48), (20, 48)),
    ((33, 57), (33, 57)),
    ((256, 340), (224, 297)),
    ((360, 640), (224, 398)),
    ((1080, 1920), (224, 398)),
    ((240, 1920), (3, 10)),
    ((1, 1600), (1, 8)),
    ((700, 3), (2, 300)),
    ((2, 3), (131, 257)),
]

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SMALL = {"size": {"shortest_edge": 20}, "crop_size": {"height": 18, "width": 18}}

# (class, entries of the file, frames (T, H, W, C))
PROCESSORS = [
    ("image", {}, (2, 256, 340, 3)),
    ("image", IMAGENET, (2, 360, 202, 3)),
    ("image", {"size": 18, "crop_size": 18}, (10, 41, 73, 3)),
    ("image", {**SMALL, "image_mean": 0.3, "image_std": 0.7}, (2, 30, 80, 3)),
    ("image", {**SMALL, "size": [25, 19]}, (2, 51, 52, 3)),
    ("image", {**SMALL, "size": {"shortest_edge": 20, "longest_edge": 22}}, (2, 40, 50, 3)),
    ("image", {**SMALL, "size": {"shortest_edge": 31, "longest_edge": 37}, "do_center_crop": False}, (2, 57, 40, 3)),
    ("image", {**SMALL, "size": {"max_height": 33, "max_width": 27}}, (2, 40, 50, 3)),
    ("image", {**SMALL, "do_resize": False}, (2, 41, 23, 3)),
    ("image", {**IMAGENET, "do_resize": False, "crop_size": {"height": 9, "width": 40}}, (2, 12, 23, 3)),
    ("image", {**IMAGENET, "do_resize": False, "crop_size": {"height": 30, "width": 8}}, (1, 13, 23, 3)),
    ("image", {**IMAGENET, "do_resize": False, "do_center_crop": False}, (3, 11, 7, 3)),
    ("image", {**IMAGENET, **SMALL, "do_rescale": False}, (2, 30, 40, 3)),
    ("image", {**SMALL, "do_normalize": False}, (2, 30, 40, 3)),
    ("image", {**SMALL, "do_normalize": False, "rescale_factor": 0.0123}, (2, 30, 40, 3)),
    ("image", {**SMALL, **IMAGENET, "rescale_factor": 0.0123}, (2, 30, 40, 3)),
    ("image", {**SMALL, "do_normalize": False, "do_rescale": False}, (2, 30, 40, 3)),
    ("image", {**SMALL, "image_mean": [0.1, 0.2, 0.3, 0.4], "image_std": [0.5, 0.6, 0.7, 0.8]}, (2, 33, 31, 4)),
    ("video", {}, (2, 240, 320, 3)),
    ("video", {**IMAGENET, **SMALL}, (8, 47, 33, 3)),
    ("video", SMALL, (3, 31, 37, 1)),
    ("video", {**SMALL, "do_sample_frames": True, "num_frames": 4}, (10, 31, 37, 3)),
]


def noise(shape, seed):
    """The high bytes of the outputs 0, 1, … of SplitMix64 started at `seed`."""
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + step * np.arange(1, np.prod(shape) + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(56)).astype(np.uint8).reshape(shape)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def resize_case(source, target, seed):
    image = torch.from_numpy(noise((*source, 3), seed)).permute(2, 0, 1).contiguous()
    resized = functional.resize(image, list(target), antialias=True).permute(1, 2, 0).numpy()
    return {"from": source, "to": target, "seed": seed, "sha256": digest(resized)}


def processor_case(kind, config, frames, seed):
    processor = {"image": VideoMAEImageProcessor, "video": VideoMAEVideoProcessor}[kind](**config)
    video = torch.from_numpy(noise(frames, seed)).permute(0, 3, 1, 2).contiguous()
    options = {"input_data_format": "channels_first", "return_tensors": "np"}
    # The image processor takes a video as a list of frames.
    values = processor.preprocess([list(video)] if kind == "image" else [video], **options)["pixel_values"]
    # Without rescaling and normalising the reference keeps bytes; the numbers are what counts.
    values = np.asarray(values).astype(np.float32)
    return {
        "class": kind,
        "config": config,
        "frames": frames,
        "seed": seed,
        "shape": values.shape,
        "first": [float(value) for value in values.ravel()[:4]],
        "sha256": digest(values),
    }


def random_resizes(count, seed):
    draw = random.Random(seed)
    edge = lambda: draw.choice([draw.randint(2, 40), draw.randint(2, 400), draw.randint(200, 1300)])
    return [((edge(), edge()), (edge(), edge())) for _ in range(count)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resizes", type=int, default=20, help="random resizes besides the chosen ones")
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in {"AVX2", "AVX512"}:
        parser.error(f"torchvision's integer resize needs AVX2 or AVX512, found {capability}")
    torch.set_num_threads(1)
    resizes = RESIZES + random_resizes(arguments.resizes, arguments.seed)
    cases = {
        "cpu_capability": capability,
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "resize": [resize_case(*sizes, seed) for seed, sizes in enumerate(resizes)],
        "processors": [processor_case(*case, seed) for seed, case in enumerate(PROCESSORS)],
    }
    lines = [f'  "{name}": {json.dumps(cases[name])}' for name in list(cases)[:4]]
    for name in ("resize", "processors"):
        entries = ",\n".join(f"    {json.dumps(case)}" for case in cases[name])
        lines.append(f'  "{name}": [\n{entries}\n  ]')
    temporary = arguments.out.with_suffix(".tmp")
    temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    temporary.rename(arguments.out)


if __name__ == "__main__":
    main()
