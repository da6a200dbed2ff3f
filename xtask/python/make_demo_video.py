"""H.264 in MP4, written and read through PyAV (libx264 and FFmpeg)."""

import io

import av
import numpy as np


def encode(frames, target, fps, crf, preset="medium", **container_options):
    """Writes `frames` (T, H, W, 3) u8 to a path or stream as MP4: 8-bit 4:2:0 with B-frames."""
    _, height, width, _ = frames.shape
    with av.open(target, "w", format="mp4", options=container_options) as container:
        # One thread: the bytes then do not depend on the number of cores.
        options = {"crf": str(crf), "preset": preset, "bf": "2", "threads": "1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def decode(source):
    """The frames (T, H, W, 3) u8 of a path or stream."""
    with av.open(source) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def round_trip(frames, fps, crf, preset="medium"):
    """What is left of `frames` after encoding and decoding."""
    stream = io.BytesIO()
    encode(frames, stream, fps, crf, preset)
    stream.seek(0)
    return decode(stream)
