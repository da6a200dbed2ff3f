"""The cases of fixtures/preprocess/cases.json that one library makes: `preprocess_cases.py PART`, JSON on standard
output. Started by make_preprocess_fixtures.py, which chooses the packages that this finds.
"""

import hashlib
import json
import random
import sys

import numpy as np

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SMALL = {"size": {"shortest_edge": 20}, "crop_size": {"height": 18, "width": 18}}
# Four channels with a mean and a deviation each.
FOUR = {"image_mean": [0.1, 0.2, 0.3, 0.4], "image_std": [0.5, 0.6, 0.7, 0.8]}
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}

# Sizes (from, to) that a random draw would miss: one pixel, equal edges, tiny models on large clips, upright films.
# An assertion inside torch fails on results of 1×1.
RESIZES = [
    ((1, 2), (5, 7)),
    ((9, 7), (1, 2)),
    ((9, 7), (2, 1)),
    ((64, 48), (64, 20)),
    ((64, 48), (20, 48)),
    ((33, 57), (33, 57)),
    ((96, 64), (48, 32)),
    ((256, 340), (224, 297)),
    ((360, 640), (224, 398)),
    ((1080, 1920), (224, 398)),
    ((2400, 1080), (497, 224)),
    ((400, 100), (96, 100)),
    ((240, 1920), (3, 10)),
    ((1, 1600), (1, 8)),
    ((700, 3), (2, 300)),
    ((2, 3), (131, 257)),
]
# Few pixels for the filters besides bilinear, and for images that are not RGB.
SMALL_RESIZES = [((47, 31), (20, 13)), ((13, 22), (40, 9)), ((1, 5), (3, 17)), ((90, 20), (22, 11)), ((8, 6), (4, 3))]

# (class, entries of the file, frames (T, H, W, C) or (T, C, H, W), kind of samples, layout)
IMAGE_CASES = [
    ({}, (2, 256, 340, 3)),
    (IMAGENET, (2, 360, 202, 3)),
    (IMAGENET, (1, 800, 360, 3)),
    ({"size": 18, "crop_size": 18}, (10, 41, 73, 3)),
    ({**SMALL, "image_mean": 0.3, "image_std": 0.7}, (2, 30, 80, 3)),
    ({**SMALL, "image_mean": [0.3], "image_std": [0.7]}, (2, 30, 80, 3)),
    ({**SMALL, "size": [25, 19]}, (2, 51, 52, 3)),
    ({**SMALL, "size": {"height": 25, "width": 19}}, (2, 51, 52, 3)),
    ({**SMALL, "crop_size": [17, 13]}, (2, 51, 52, 3)),
    ({**SMALL, "size": {"shortest_edge": 20, "longest_edge": 22}}, (2, 40, 50, 3)),
    ({**SMALL, "size": {"shortest_edge": 31, "longest_edge": 37}, "do_center_crop": False}, (2, 57, 40, 3)),
    ({**SMALL, "size": {"max_height": 33, "max_width": 27}}, (2, 40, 50, 3)),
    ({**SMALL, "size": {"longest_edge": 27}}, (2, 40, 50, 3)),
    ({**SMALL, "crop_size": {"shortest_edge": 18}}, (2, 40, 50, 3)),
    ({**SMALL, "do_resize": False}, (2, 41, 23, 3)),
    # Padding: even and odd deficits, in one direction and in both.
    ({**IMAGENET, "do_resize": False, "crop_size": {"height": 9, "width": 40}}, (2, 12, 23, 3)),
    ({**IMAGENET, "do_resize": False, "crop_size": {"height": 30, "width": 8}}, (1, 13, 23, 3)),
    ({**IMAGENET, "do_resize": False, "crop_size": {"height": 30, "width": 26}}, (1, 13, 23, 3)),
    ({**IMAGENET, "do_resize": False, "crop_size": {"height": 14, "width": 27}}, (1, 13, 23, 3)),
    ({**SMALL, "crop_size": {"height": 31, "width": 45}}, (2, 41, 73, 3)),
    # Each step on its own.
    ({**IMAGENET, "do_resize": False, "do_center_crop": False}, (3, 11, 7, 3)),
    ({**IMAGENET, **SMALL, "do_rescale": False}, (2, 30, 40, 3)),
    ({**SMALL, "do_normalize": False}, (2, 30, 40, 3)),
    ({**SMALL, "do_normalize": False, "rescale_factor": 0.0123}, (2, 30, 40, 3)),
    ({**SMALL, **IMAGENET, "rescale_factor": 0.0123}, (2, 30, 40, 3)),
    ({**SMALL, "do_normalize": False, "do_rescale": False}, (2, 30, 40, 3)),
    *[({**SMALL, **IMAGENET, "resample": number}, (1, 37, 29, 3)) for number in FILTERS],
    # Entries that these classes keep and do not use.
    ({**SMALL, "do_pad": True, "pad_size": {"height": 50, "width": 50}, "data_format": "channels_last"}, (1, 30, 40, 3)),
    # Other channels, layouts and kinds of samples.
    ({**SMALL, **FOUR}, (2, 33, 31, 4)),
    ({**SMALL, **FOUR, "resample": 3}, (2, 9, 8, 4)),
    ({**SMALL, **FOUR, "resample": 0}, (2, 33, 31, 4)),
    ({**SMALL, **FOUR, "do_resize": False}, (2, 33, 31, 4)),
    ({**SMALL, "image_mean": [0.4], "image_std": [0.3]}, (2, 33, 31, 1)),
    ({**SMALL, "image_mean": 0.4, "image_std": 0.3}, (2, 33, 31, 1)),
    ({**SMALL, **IMAGENET}, (2, 3, 33, 31), "bytes", "channels_first"),
    ({**SMALL, **FOUR}, (2, 4, 33, 31), "bytes", "channels_first"),
    ({**SMALL, **IMAGENET}, (2, 33, 31, 3), "unit"),
    ({**SMALL, **IMAGENET, "do_rescale": False}, (2, 33, 31, 3), "unit"),
    ({**SMALL, **IMAGENET, "do_rescale": False, "resample": 3}, (2, 33, 31, 3), "unit"),
    ({**SMALL, **IMAGENET, "do_rescale": False, "resample": 0}, (2, 33, 31, 3), "unit"),
    ({**SMALL, **IMAGENET, "do_rescale": False, "size": 90, "crop_size": 80}, (2, 33, 31, 3), "unit"),
    ({**SMALL, **IMAGENET, "size": 4, "crop_size": 3}, (2, 40, 75, 3), "whole"),
    ({**SMALL, **IMAGENET}, (2, 3, 33, 31), "whole", "channels_first"),
    ({**SMALL, **IMAGENET, "do_normalize": False}, (2, 33, 31, 3), "wide"),
    ({**SMALL, **IMAGENET, "do_normalize": False, "do_resize": False}, (2, 33, 31, 3), "wide"),
    ({**SMALL, "crop_size": 31, "do_normalize": False, "do_rescale": False}, (2, 33, 31, 3), "unit"),
]
# Options that transformers 4 does not have.
IMAGE_CASES_5 = [
    ({**SMALL, **IMAGENET, "do_convert_rgb": True}, (2, 33, 31, 1)),
    ({**SMALL, **IMAGENET, "do_convert_rgb": True}, (2, 33, 31, 4)),
    ({**SMALL, **IMAGENET, "do_convert_rgb": True}, (2, 33, 31, 3)),
    ({**SMALL, **IMAGENET, "do_convert_rgb": True, "do_rescale": False}, (2, 33, 31, 4), "unit"),
    ({**SMALL, **IMAGENET, "do_convert_rgb": True, "do_rescale": False}, (2, 33, 31, 4), "wide"),
]
VIDEO_CASES = [
    ({}, (2, 240, 320, 3)),
    ({**IMAGENET, **SMALL}, (8, 47, 33, 3)),
    ({**SMALL, **IMAGENET, "resample": 3}, (2, 47, 33, 3)),
    ({**SMALL, **IMAGENET, "resample": 4}, (2, 47, 33, 3)),
    (SMALL, (3, 31, 37, 1)),
    (SMALL, (3, 31, 37, 4)),
    ({**SMALL, "do_convert_rgb": False, **FOUR}, (3, 31, 37, 4)),
    (SMALL, (3, 3, 31, 37), "bytes", "channels_first"),
    ({**SMALL, "do_rescale": False}, (3, 31, 37, 3), "unit"),
    (SMALL, (3, 31, 37, 4), "whole"),
    ({**SMALL, "do_resize": False, "crop_size": {"height": 40, "width": 30}}, (3, 31, 37, 3)),
    ({**SMALL, "do_sample_frames": True, "num_frames": 4}, (10, 31, 37, 3)),
    ({**SMALL, "do_sample_frames": True, "num_frames": 11}, (10, 31, 37, 3)),
    ({**SMALL, "do_sample_frames": True, "num_frames": 4, "fps": 2}, (10, 31, 37, 3)),
]


def noise(shape, seed):
    """The high bytes of the outputs 0, 1, … of SplitMix64 started at `seed`."""
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + step * np.arange(1, np.prod(shape) + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(56)).astype(np.uint8).reshape(shape)


def samples(shape, seed, kind):
    """Frames of bytes; the same numbers as f32; in [0, 1]; or from -60 to 373.5."""
    levels = noise(shape, seed)
    return {
        "bytes": lambda: levels,
        "whole": lambda: levels.astype(np.float32),
        "unit": lambda: levels.astype(np.float32) / np.float32(255),
        "wide": lambda: levels.astype(np.float32) * np.float32(1.7) - np.float32(60),
    }[kind]()


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def random_resizes(count, seed):
    draw = random.Random(seed)
    edge = lambda: draw.choice([draw.randint(2, 40), draw.randint(2, 400), draw.randint(200, 1300)])
    return [((edge(), edge()), (edge(), edge())) for _ in range(count)]


def resize_cases(numerics, resize, filters):
    """Cases of `resize(image, to, number of the filter)` on images (H, W, C)."""
    chosen = [(2, 3, sizes) for sizes in RESIZES + random_resizes(20, seed=2026)]
    chosen += [(number, channels, sizes) for sizes in SMALL_RESIZES for number in filters for channels in (1, 3, 4)]
    cases = []
    for seed, (number, channels, (source, target)) in enumerate(chosen):
        result = resize(noise((*source, channels), seed), target, number)
        case = {"numerics": numerics, "resample": number, "channels": channels, "from": source, "to": target}
        cases.append({**case, "seed": seed, "sha256": digest(result)})
    return cases


def values_case(values):
    """What is kept of pixel values. Where no step makes them floats the reference keeps bytes; the numbers count."""
    values = np.asarray(values).astype(np.float32)
    step = max(1, values.size // 8)
    few = [float(value) for value in values.ravel()[::step][:8]]
    return {"shape": values.shape, "every": step, "values": few, "sha256": digest(values)}


def processor_cases(part, numerics, kind, make, cases):
    """Cases of a processor class; what it refuses is recorded with the name of the error."""
    made = []
    for seed, (config, frames, samples_kind, layout) in enumerate(with_defaults(cases)):
        video = samples(frames, seed, samples_kind)
        case = {"part": part, "numerics": numerics, "class": kind, "config": config, "frames": frames}
        case |= {"samples": samples_kind, "layout": layout, "seed": seed}
        try:
            # The image processor takes a video as a list of frames.
            videos = [list(video)] if kind == "image" else [video]
            processed = make(**config).preprocess(videos, input_data_format=layout, return_tensors="np")
            case |= values_case(processed["pixel_values"])
        except Exception as error:  # whatever the reference raises is the expectation
            case["refused"] = type(error).__name__
        made.append(case)
    return made


def with_defaults(cases):
    defaults = ("bytes", "channels_last")
    return [(*case, *defaults[len(case) - 2 :]) for case in cases]


def torchvision_part():
    import torch
    import torchvision
    import transformers
    from torchvision import transforms
    from torchvision.transforms.v2 import functional
    from transformers import VideoMAEImageProcessor, VideoMAEVideoProcessor

    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in {"AVX2", "AVX512"}:
        sys.exit(f"torchvision's integer resize needs AVX2 or AVX512, found {capability}")
    torch.set_num_threads(1)

    def resize(image, to, number):
        mode = functional.InterpolationMode[FILTERS[number].upper() if number else "NEAREST_EXACT"]
        tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        return functional.resize(tensor, list(to), interpolation=mode, antialias=True).permute(1, 2, 0).numpy()

    def notebook(frames, seed):
        """The validation transform of the fine-tuning notebook, on a video (C, T, H, W) of floats."""
        video = torch.from_numpy(noise(frames, seed)).permute(3, 0, 1, 2).float()
        mean, std = IMAGENET["image_mean"], IMAGENET["image_std"]
        normalized = transforms.Normalize(mean, std)((video / 255.0).permute(1, 0, 2, 3)).permute(1, 0, 2, 3)
        resized = transforms.Resize((224, 224))(normalized).permute(1, 0, 2, 3)
        case = {"transform": "notebook-validation", "frames": frames, "seed": seed}
        return {**case, **values_case(resized.numpy()[None])}

    cases = processor_cases(
        "torchvision", "torchvision", "image", VideoMAEImageProcessor, IMAGE_CASES + IMAGE_CASES_5
    ) + processor_cases("torchvision", "torchvision", "video", VideoMAEVideoProcessor, VIDEO_CASES)
    versions = {"cpu_capability": capability, "torch": torch.__version__.split("+")[0]}
    versions |= {"torchvision": torchvision.__version__.split("+")[0], "transformers": transformers.__version__}
    views = [notebook(frames, seed) for seed, frames in enumerate([(2, 360, 202, 3), (1, 90, 340, 3), (1, 224, 50, 3)])]
    resizes = resize_cases("torchvision", resize, (0, 1, 2, 3))
    return {"versions": versions, "resize": resizes, "processors": cases, "views": views}


def pillow_part(numerics):
    import PIL
    import transformers
    from PIL import Image
    from transformers import VideoMAEImageProcessorPil

    def resize(image, to, number):
        squeezed = image[..., 0] if image.shape[2] == 1 else image
        return np.asarray(Image.fromarray(squeezed).resize((to[1], to[0]), number))

    cases = processor_cases(numerics, numerics, "image", VideoMAEImageProcessorPil, IMAGE_CASES + IMAGE_CASES_5)
    versions = {"pillow": PIL.__version__, "transformers": transformers.__version__}
    return {"versions": versions, "resize": resize_cases(numerics, resize, FILTERS), "processors": cases}


def transformers_4_part():
    import PIL
    import transformers
    from transformers import VideoMAEImageProcessor

    # It takes no notice of longest_edge and does not have max_height; files with either are read as by version 5.
    apart = ("longest_edge", "max_height")
    cases = [case for case in IMAGE_CASES if not any(name in str(case[0].get("size")) for name in apart)]
    versions = {"pillow": PIL.__version__, "transformers": transformers.__version__}
    return {
        "versions": versions,
        "processors": processor_cases("transformers-4", "pillow", "image", VideoMAEImageProcessor, cases),
    }


def opencv_part():
    import cv2
    import torch

    cv2.setNumThreads(1)

    def resize(image, to, number):
        return cv2.resize(image, (to[1], to[0]), interpolation=cv2.INTER_LINEAR)

    def short_side(frame, short):
        height, width, _ = frame.shape
        if min(height, width) == short:
            return frame
        to = (int(short * height / width), short) if width < height else (short, int(short * width / height))
        return resize(frame, to, 2)

    def normalize(clip):
        """(T, H, W, C) bytes to (T, C, H, W) floats, by the formulas of the official evaluation code."""
        tensor = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float().div(255)
        mean, std = (torch.tensor(IMAGENET[name])[:, None, None] for name in ("image_mean", "image_std"))
        return tensor.sub(mean).div(std).numpy()

    def validation(clip):
        top, left = (int(round((edge - 224) / 2.0)) for edge in clip.shape[1:3])
        return [normalize(clip[:, top : top + 224, left : left + 224])]

    def test(clip):
        step = 1.0 * (max(clip.shape[1:3]) - 224) / (3 - 1)
        starts = [int(view * step) for view in range(3)]
        if clip.shape[1] >= clip.shape[2]:
            return [normalize(clip[:, start : start + 224]) for start in starts]
        return [normalize(clip[:, :, start : start + 224]) for start in starts]

    views = []
    for name, crops in (("official-validation", validation), ("official-test", test)):
        sizes = [(2, 360, 202, 3), (2, 256, 341, 3), (1, 100, 133, 3), (1, 448, 596, 3), (1, 224, 299, 3), (1, 60, 60, 3)]
        for seed, frames in enumerate(sizes):
            clip = np.stack([short_side(frame, 224) for frame in noise(frames, seed)])
            case = {"transform": name, "frames": frames, "seed": seed}
            views.append({**case, **values_case(np.stack(crops(clip)))})
    versions = {"opencv": cv2.__version__, "torch": torch.__version__.split("+")[0]}
    return {"versions": versions, "resize": resize_cases("opencv-linear", resize, (2,)), "views": views}


def main():
    parts = {
        "torchvision": torchvision_part,
        "pillow": lambda: pillow_part("pillow"),
        "pillow-12": lambda: pillow_part("pillow-12"),
        "transformers-4": transformers_4_part,
        "opencv-linear": opencv_part,
    }
    print(json.dumps(parts[sys.argv[1]]()))


if __name__ == "__main__":
    main()
