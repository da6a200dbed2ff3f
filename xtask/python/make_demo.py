"""Steps of `cargo xtask make-demo`, which renders the clips and pipes their bytes to standard input.

    make_demo.py encode    one clip -> an MP4 file
    make_demo.py prepare   many clips -> an array of model inputs
    make_demo.py train     two such arrays -> a checkpoint folder
    make_demo.py evaluate  the test clips -> a report in JSON
"""

import argparse
import importlib.metadata
import itertools
import json
import pathlib
import sys

import numpy as np


# Clips that share one call of the image processor, whose cost is mostly per call.
CHUNK = 50


def read_clips(arguments):
    """Clips (T, H, W, 3) u8 from standard input, one after the other."""
    shape = tuple(arguments.shape)
    size = int(np.prod(shape))
    for index in range(arguments.count):
        data = sys.stdin.buffer.read(size)
        if len(data) != size:
            sys.exit(f"clip {index}: expected {size} bytes, found {len(data)}")
        yield np.frombuffer(data, np.uint8).reshape(shape)


def encode(arguments):
    """Writes one clip as an MP4 file."""
    import make_demo_video as video

    (frames,) = read_clips(arguments)
    # faststart puts the index before the frames, as uploads have it.
    video.encode(frames, str(arguments.out), arguments.fps, arguments.crf, movflags="faststart")


def prepare(arguments):
    """A quarter of the clips pass through H.264 first, at qualities from good to poor."""
    import make_demo_train as training
    import make_demo_video as video

    processor = training.image_processor(do_rescale=False, do_normalize=False)
    random = np.random.default_rng(training.SEED)
    side = training.IMAGE_SIZE
    shape = (arguments.count, training.NUM_FRAMES, side, side, 3)
    pixels = np.lib.format.open_memmap(arguments.out, "w+", np.uint8, shape)
    clips = read_clips(arguments)
    for start in range(0, arguments.count, CHUNK):
        chunk = []
        for frames in itertools.islice(clips, CHUNK):
            if random.random() < 0.25:
                frames = video.round_trip(frames, arguments.fps, random.integers(18, 33), "veryfast")
            chunk.append(training.sample(frames))
        # The processor treats frames one by one, so many clips may travel as one long video.
        values = processor(np.concatenate(chunk), return_tensors="pt")["pixel_values"][0]
        done = start + len(chunk)
        pixels[start:done] = values.permute(0, 2, 3, 1).reshape(pixels[start:done].shape).numpy()
        if done % 500 == 0 or done == arguments.count:
            print(f"prepared {done}/{arguments.count} clips", flush=True)
    pixels.flush()


def train(arguments):
    """Trains on prepared clips and saves model and processor."""
    import make_demo_train as training
    import torch

    torch.set_num_threads(arguments.threads)
    train_pixels = np.load(arguments.train, mmap_mode="r")
    validation_pixels = np.load(arguments.validation)
    model = training.train(train_pixels, validation_pixels, arguments.labels, arguments.steps)
    model.save_pretrained(arguments.out)
    training.image_processor().save_pretrained(arguments.out)


def evaluate(arguments):
    """Classifies the test clips as rendered and after H.264, forwards and backwards, and the fixture clips."""
    import make_demo_train as training
    import make_demo_video as video
    import torch
    from transformers import VideoMAEForVideoClassification, VideoMAEImageProcessor

    torch.set_num_threads(arguments.threads)
    model = VideoMAEForVideoClassification.from_pretrained(arguments.model).eval()
    processor = VideoMAEImageProcessor.from_pretrained(arguments.model)
    labels = arguments.labels

    def classify(frames):
        inputs = processor(list(training.sample(frames)), return_tensors="pt")
        with torch.no_grad():
            scores = model(**inputs).logits[0].softmax(-1)
        return {"label": labels[scores.argmax()], "score": scores.max().item()}

    reversed_label = training.both_ways(training.REVERSED)
    right = {"rendered": 0, "h264": 0, "rendered_reversed": 0, "h264_reversed": 0}
    for index, frames in enumerate(read_clips(arguments)):
        label = labels[index % len(labels)]
        decoded = video.round_trip(frames, arguments.fps, arguments.crf)
        for name, clip, expected in [
            ("rendered", frames, label),
            ("h264", decoded, label),
            ("rendered_reversed", frames[::-1], reversed_label.get(label, label)),
            ("h264_reversed", decoded[::-1], reversed_label.get(label, label)),
        ]:
            found = classify(clip)
            right[name] += found["label"] == expected
            if found["label"] != expected:
                print(f"test clip {index}, {name}: expected {expected}, found {found}", flush=True)
    accuracy = {name: count / arguments.count for name, count in right.items()}

    fixtures = {}
    for label in labels:
        frames = video.decode(str(arguments.clips / f"{label}.mp4"))
        fixtures[label] = {"forwards": classify(frames), "backwards": classify(frames[::-1])}
        print(f"{label}.mp4: {fixtures[label]}", flush=True)
    versions = {name: importlib.metadata.version(name) for name in ("av", "torch", "torchvision", "transformers")}
    report = {"accuracy": accuracy, "fixtures": fixtures, "versions": versions}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(accuracy), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True, metavar="STEP")

    def add_step(run, *options):
        step = steps.add_parser(run.__name__, description=run.__doc__)
        step.set_defaults(run=run)
        step.add_argument("--out", type=pathlib.Path, required=True)
        for name, settings in options:
            step.add_argument(name, required=True, **settings)

    path, number = {"type": pathlib.Path}, {"type": int}
    shape = ("--shape", {"type": int, "nargs": 4, "metavar": ("T", "H", "W", "C")})
    clips = [shape, ("--count", number), ("--fps", number)]
    crf, labels, threads = ("--crf", number), ("--labels", {"nargs": "+"}), ("--threads", number)
    add_step(encode, *clips, crf)
    add_step(prepare, *clips)
    add_step(train, ("--train", path), ("--validation", path), ("--steps", number), labels, threads)
    add_step(evaluate, *clips, crf, ("--model", path), ("--clips", path), labels, threads)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
