"""Makes the clips that the tests of video decoding read, and what FFmpeg makes of them.

Usage: python make_decode_fixtures.py OUT

Writes OUT/*.mp4 (and .mov, .mkv, .webm) and OUT/expected.json: for each clip the number of frames, the size as shown, the frame rate and
the SHA-256 of each frame's RGB bytes, as PyAV (that is, FFmpeg) decodes them. PyAV does not turn pictures by the display
matrix; this is done here with numpy. Pictures are synthetic: moving gradients, a moving box and noise.

The bytes of the clips depend on the version of x264 inside PyAV, which is recorded; the committed clips are not made
again unless a case is added.
"""

import hashlib
import io
import json
import struct
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FRAMES, RATE = 64, 48, 20, 25


def picture(index, width, height):
    """One RGB picture of the synthetic scene."""
    noise = np.random.default_rng(index).integers(0, 24, (height, width, 3))
    x = np.arange(width)[None, :]
    y = np.arange(height)[:, None]
    rgb = np.zeros((height, width, 3), dtype=np.int64)
    rgb[..., 0] = (3 * x + 5 * index) % 256
    rgb[..., 1] = (4 * y + 3 * index) % 256
    rgb[..., 2] = (x + y + 9 * index) % 256
    left = (3 * index) % (width - 12)
    rgb[height // 4 : height // 2, left : left + 12] = (255, 32, 16)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def encode(params="", frames=FRAMES, size=(WIDTH, HEIGHT), times=None, tags=None, container=None, codec="libx264",
           pixel_format="yuv420p", profile=None, file_format="mp4", preset="medium"):
    """Encodes the scene; returns the bytes of the file."""
    options = container or {}
    if file_format != "mp4":
        # Matroska gives every file a random name otherwise, and no two runs would agree.
        options = {"fflags": "+bitexact", **options}
    # A real file, because putting `moov` first takes a second pass over it.
    with tempfile.NamedTemporaryFile() as target, av.open(
        target.name, "w", format=file_format, options=options
    ) as output:
        stream = output.add_stream(codec, rate=RATE)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        if codec == "libx264":
            stream.options = {"preset": preset, "crf": "24", "threads": "1", "x264-params": params}
            if profile:
                stream.options = {**stream.options, "profile": profile}
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = times[index] if times else index
            frame.time_base = Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        output.close()
        return Path(target.name).read_bytes()


def audio_only():
    """An MP4 file with a short silent sound track."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return target.getvalue()


def remux(data, first_packet=0, container=None):
    """Copies the coded pictures from packet `first_packet` on into a new file, like `ffmpeg -c copy`."""
    target = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(target, "w", format="mp4", options=container or {}) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets[first_packet:]:
            packet.stream = stream
            output.mux(packet)
    return target.getvalue()


def find_box(data, path):
    """Offset of the body, and the end, of a nested box."""
    start, end = 0, len(data)
    for kind in path:
        while start < end:
            size = struct.unpack(">I", data[start : start + 4])[0]
            if data[start + 4 : start + 8] == kind:
                start, end = start + 8, start + size
                break
            start += size
        else:
            raise ValueError(f"no {kind!r} in {path}")
    return start, end


TRAK = (b"moov", b"trak")
STSD = (*TRAK, b"mdia", b"minf", b"stbl", b"stsd")


def patch(data, path, offset, replacement):
    """Overwrites bytes inside a box."""
    start, end = find_box(data, path)
    assert start + offset + len(replacement) <= end, path
    result = bytearray(data)
    result[start + offset : start + offset + len(replacement)] = replacement
    return bytes(result)


def with_matrix(data, a, b, c, d):
    """Sets the display matrix of the track."""
    values = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    return patch(data, (*TRAK, b"tkhd"), 40, values)


def with_edits(data, edits):
    """Replaces the entries of the edit list; `edits` are (duration, media time), as many as there are."""
    start, _ = find_box(data, (*TRAK, b"edts", b"elst"))
    count = struct.unpack(">I", data[start + 4 : start + 8])[0]
    assert count == len(edits), count
    entries = b"".join(struct.pack(">IiI", duration, time, 1 << 16) for duration, time in edits)
    return patch(data, (*TRAK, b"edts", b"elst"), 8, entries)


def with_container_size(data, width, height):
    """Sets the size in the sample entry, which cuts the picture when it is a little smaller than the coded one."""
    # Version, flags and count of stsd (8), then the box header of the entry (8) and 24 bytes of it.
    return patch(data, STSD, 8 + 8 + 24, struct.pack(">HH", width, height))


def expected(data, turn):
    """What FFmpeg decodes, turned by `turn`."""
    hashes = []
    with av.open(io.BytesIO(data)) as source:
        for frame in source.decode(video=0):
            rgb = np.ascontiguousarray(turn(frame.to_ndarray(format="rgb24")))
            hashes.append(hashlib.sha256(rgb.tobytes()).hexdigest())
    height, width, _ = rgb.shape
    return {"frames": len(hashes), "width": width, "height": height, "sha256": hashes}


def upright(rgb):
    return rgb


def cases():
    """Name, file and turn of every clip."""
    b_frames = "bframes=3:b-adapt=0:b-pyramid=normal:keyint=12:min-keyint=12:scenecut=0"
    base = encode(b_frames)
    open_gop = encode(b_frames + ":open-gop=1", frames=30)
    yield "baseline.mp4", encode("keyint=10", profile="baseline"), upright
    yield "main_cavlc.mp4", encode("cabac=0:bframes=2:weightp=2", profile="main"), upright
    yield "high_b_frames.mp4", base, upright
    yield "open_gop.mp4", open_gop, upright
    yield "multi_slice.mp4", encode("slices=3:bframes=2", size=(64, 96)), upright
    yield "two_keyframes.mov", encode("keyint=7:bframes=2", file_format="mov"), upright
    yield "interlaced.mp4", encode("interlaced=1:bframes=2:tff=1", size=(64, 96), frames=12), upright
    yield "monochrome.mp4", encode("", pixel_format="gray", frames=6), upright
    yield "cropped.mp4", encode("", size=(70, 50), frames=8), upright
    yield "odd_width.mp4", with_container_size(encode("", frames=8), 61, 46), upright
    yield "full_range.mp4", encode("", frames=8, tags={"color_range": 2}), upright
    yield "bt709.mp4", encode("", frames=8, tags={"colorspace": 1, "color_primaries": 1, "color_trc": 1}), upright
    yield "bt709_full.mp4", encode("", frames=8, tags={"colorspace": 1, "color_range": 2}), upright
    turned = encode("", size=(64, 32), frames=4)
    yield "rotated_90.mp4", with_matrix(turned, 0, 1, -1, 0), lambda rgb: np.rot90(rgb, -1)
    yield "rotated_180.mp4", with_matrix(turned, -1, 0, 0, -1), lambda rgb: np.rot90(rgb, 2)
    yield "rotated_270.mp4", with_matrix(turned, 0, -1, 1, 0), lambda rgb: np.rot90(rgb, 1)
    yield "mirrored.mp4", with_matrix(turned, -1, 0, 0, 1), lambda rgb: rgb[:, ::-1]
    yield "variable_rate.mp4", encode("bframes=2", times=[i + (i * i) // 9 for i in range(FRAMES)]), upright
    yield "moov_first.mp4", encode(b_frames, container={"movflags": "faststart"}), upright
    fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    yield "fragmented.mp4", encode(b_frames, container=fragmented), upright
    yield "fragmented_plain.mp4", encode(b_frames, container={"movflags": "frag_keyframe"}), upright
    # x264 with B-frames starts two pictures early; these edits begin or end inside the stream.
    second = 1000
    yield "edit_from_middle.mp4", with_edits(base, [(second, 1024 + 5 * 512)]), upright
    yield "edit_until_middle.mp4", with_edits(base, [(9 * second // 25, 1024)]), upright
    yield "edit_inside_second_group.mp4", with_edits(base, [(4 * second // 25, 1024 + 14 * 512)]), upright
    yield "cut_before_keyframe.mp4", remux(open_gop, 7), upright
    yield "cut_at_open_keyframe.mp4", remux(open_gop, 13), upright
    # Pictures shown before the first key picture follow it in the file, refer to pictures cut off, and to each other.
    leading = encode("bframes=2:b-adapt=0:b-pyramid=normal:keyint=12:min-keyint=2:scenecut=0:open-gop=1", frames=30)
    yield "cut_with_leading_pictures.mp4", remux(leading, 8), upright
    tags = {"colorspace": 1, "color_range": 2}
    yield "high_b_frames.mkv", encode(b_frames, file_format="matroska"), upright
    yield "open_gop.mkv", encode(b_frames + ":open-gop=1", frames=30, file_format="matroska"), upright
    yield "interlaced.mkv", encode("interlaced=1:bframes=2:tff=1", size=(64, 96), file_format="matroska"), upright
    yield "bt709_full.mkv", encode("", frames=8, tags=tags, file_format="matroska"), upright
    # One decoder gets this combination wrong.
    refresh = "bframes=2:b-adapt=2:keyint=12:min-keyint=2:scenecut=0:open-gop=1:ref=3:intra-refresh=1"
    constrained = refresh + ":constrained-intra=1:8x8dct=1:subme=2:slices=2:deblock=-3,-3:partitions=all:me=umh"
    yield "constrained_intra.mp4", encode(constrained, frames=30, size=(98, 98)), upright


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    clips = {}
    for name, data, turn in cases():
        clips[name] = expected(data, turn)
        (out / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes, {clips[name]['frames']} frames", flush=True)
    # Files that have to be refused; what they lack is plain from the name.
    (out / "audio_only.mp4").write_bytes(audio_only())
    (out / "mpeg4.mp4").write_bytes(encode(codec="mpeg4", frames=3))
    (out / "vp8.webm").write_bytes(encode(codec="libvpx", frames=3, file_format="webm"))
    (out / "high_422.mp4").write_bytes(encode("", frames=3, pixel_format="yuv422p"))
    versions = {"av": av.__version__, **{name: ".".join(map(str, v)) for name, v in av.library_versions.items()}}
    document = {"made_by": "xtask/python/make_decode_fixtures.py", "versions": versions, "clips": clips}
    (out / "expected.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
