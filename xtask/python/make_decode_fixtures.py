"""Makes the clips that the tests of video decoding read, and what FFmpeg makes of them.

Usage: python make_decode_fixtures.py OUT

Writes OUT/*.mp4 (and .mov, .mkv, .webm) and OUT/expected.json: for each clip the number of frames, the size as shown
and the SHA-256 of each frame's RGB bytes, as PyAV (that is, FFmpeg) decodes them. PyAV does not turn pictures by the
display matrix; this is done here with numpy. Where FFmpeg's conversion to RGB is only approached (more than 8 bits, an
odd number of rows), the hashes are of the planes, samples of two bytes with the low one first, and OUT/*.npy has the
RGB of the first frames. Pictures are synthetic: moving gradients, a moving box and noise.

The bytes of the clips depend on the versions of x264, x265 and libvpx inside PyAV, which is recorded; the committed
clips are not made again unless a case is added.
"""

import hashlib
import io
import itertools
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
           pixel_format="yuv420p", profile=None, file_format="mp4", preset="medium", tag=None):
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
        if codec == "libx265":
            # One thread, or the bytes would depend on the machine; no message with the version and options.
            quiet = "log-level=none:pools=none:frame-threads=1:info=0"
            stream.options = {"preset": preset, "crf": "24", "x265-params": f"{quiet}:{params}".rstrip(":")}
        if codec == "libvpx-vp9":
            asked = dict(pair.split("=") for pair in params.split(":") if pair)
            stream.options = {"threads": "1", "crf": "30", "b": "0", **asked}
        if tag:
            stream.codec_context.codec_tag = tag
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


# Frames whose RGB is kept as it is.
KEPT_FRAMES = 2


def expected_planes(data):
    """What FFmpeg decodes, before it becomes RGB; and the RGB of the first frames."""
    hashes, kept = [], []
    with av.open(io.BytesIO(data)) as source:
        for frame in source.decode(video=0):
            digest = hashlib.sha256()
            sample = 2 if "10" in frame.format.name else 1
            for plane in frame.planes:
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                digest.update(np.ascontiguousarray(rows[:, : plane.width * sample]).tobytes())
            hashes.append(digest.hexdigest())
            if len(kept) < KEPT_FRAMES:
                kept.append(frame.to_ndarray(format="rgb24"))
            size = {"width": frame.width, "height": frame.height}
    return {"frames": len(hashes), **size, "planes": True, "sha256": hashes}, np.stack(kept)


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


def without_parameter_sets(data):
    """Empties the list of parameter sets beside the samples, so that those inside the samples are all there is."""
    return patch(data, (*STSD, ), data.index(b"hvcC") + 4 + 22 - find_box(data, STSD)[0], b"\0")


def repacked(data, change):
    """Muxes VP9 again, each sample replaced by those that `change` makes of its number and bytes."""
    target = io.BytesIO()
    options = {"fflags": "+bitexact"}
    with av.open(io.BytesIO(data)) as source, av.open(target, "w", format="matroska", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        time = 0
        for number, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            for payload in change(number, bytes(packet)):
                new = av.Packet(payload)
                new.pts = new.dts = time
                new.time_base, new.stream, new.is_keyframe = packet.time_base, stream, packet.is_keyframe
                output.mux(new)
                time += 1000 // RATE
    return target.getvalue()


def with_repeats(data, repeats):
    """Adds samples of VP9 that show what is in a slot of references: from sample number to slot."""
    # Frame marker, profile 0, show_existing_frame, and the slot.
    again = {number: [bytes([0b1000_1000 | slot])] for number, slot in repeats.items()}
    return repacked(data, lambda number, payload: [payload, *again.get(number, [])])


def with_hidden_alone(data):
    """Gives hidden frames of VP9 samples of their own, as old programs wrote them."""

    def change(_, payload):
        marker = payload[-1]
        if marker >> 5 != 0b110:
            return [payload]
        count, size = (marker & 7) + 1, (marker >> 3 & 3) + 1
        index = payload[-1 - count * size : -1]
        sizes = [int.from_bytes(index[at : at + size], "little") for at in range(0, count * size, size)]
        starts = [sum(sizes[:number]) for number in range(count)]
        return [payload[start : start + size] for start, size in zip(starts, sizes)]

    return repacked(data, change)


def hevc_cases():
    """Name and file of every HEVC clip that is compared as RGB."""
    def hevc(params="", **options):
        return encode(params, codec="libx265", tag=options.pop("tag", "hvc1"), **options)

    b_frames = "bframes=3:b-adapt=0:b-pyramid=1:keyint=12:min-keyint=12:scenecut=0"
    open_gop = hevc(b_frames + ":open-gop=1", frames=30)
    yield "hevc_b_frames.mp4", hevc(b_frames + ":open-gop=0")
    yield "hevc_open_gop.mp4", open_gop
    yield "hevc_open_gop.mkv", hevc(b_frames + ":open-gop=1", frames=30, file_format="matroska", tag=None)
    # The leading pictures of the first key picture refer to pictures cut off.
    yield "hevc_cut_at_open_keyframe.mp4", remux(open_gop, 9)
    yield "hevc_cut_before_keyframe.mp4", remux(open_gop, 5)
    # Leading pictures that can be decoded.
    yield "hevc_radl.mov", hevc(b_frames + ":open-gop=0:radl=2", frames=30, file_format="mov")
    yield "hevc_layers.mp4", hevc(b_frames + ":temporal-layers=3")
    yield "hevc_cropped.mp4", hevc(size=(70, 50), frames=8)
    # x265 needs a thread pool for slices, and crashes without.
    yield "hevc_multi_slice.mp4", hevc("pools=1:slices=2:bframes=2:ctu=16", size=(64, 96), frames=8)
    yield "hevc_bt709_full.mp4", hevc("colormatrix=bt709:range=full", frames=8)
    in_band = hevc(b_frames + ":repeat-headers=1", tag="hev1")
    yield "hevc_in_band.mp4", without_parameter_sets(in_band)


def vp9_cases():
    """Name and file of every VP9 clip that is compared as RGB."""
    def vp9(params="", **options):
        return encode(params, codec="libvpx-vp9", **{"file_format": "webm", **options})

    # Two samples hold a hidden picture before the one that is shown.
    hidden = vp9("auto-alt-ref=1:lag-in-frames=25:deadline=realtime:cpu-used=5:crf=-1:b=60000", frames=40)
    yield "vp9_hidden.webm", hidden
    yield "vp9_hidden_alone.mkv", with_hidden_alone(hidden)
    yield "vp9_shown_again.mkv", with_repeats(hidden, {3: 0, 20: 2, 39: 1})
    yield "vp9_key_frames.mp4", vp9("g=7:lag-in-frames=0", file_format="mp4")
    yield "vp9_odd_width.webm", vp9(size=(61, 46), frames=8)
    yield "vp9_bt709_full.webm", vp9(frames=8, tags={"colorspace": 1, "color_range": 2})


def planes_cases():
    """Name and file of every clip whose planes are compared."""
    deep = {"pixel_format": "yuv420p10le", "frames": 8}
    yield "hevc_10_bit.mp4", encode("bframes=2", codec="libx265", tag="hvc1", **deep)
    tags = "chromaloc=2:range=full:colormatrix=bt2020nc"
    yield "hevc_10_bit_top_left.mp4", encode(tags, codec="libx265", tag="hvc1", **deep)
    yield "vp9_odd_height.webm", encode(codec="libvpx-vp9", file_format="webm", size=(62, 45), frames=8)
    yield "vp9_odd.webm", encode(codec="libvpx-vp9", file_format="webm", size=(61, 45), frames=8)


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    clips = {}
    upright_cases = ((name, data, upright) for name, data in itertools.chain(hevc_cases(), vp9_cases()))
    for name, data, turn in itertools.chain(cases(), upright_cases):
        clips[name] = expected(data, turn)
        (out / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes, {clips[name]['frames']} frames", flush=True)
    for name, data in planes_cases():
        clips[name], kept = expected_planes(data)
        (out / name).write_bytes(data)
        np.save(out / f"{Path(name).stem}.npy", kept)
        print(f"{name}: {len(data)} bytes, {clips[name]['frames']} frames", flush=True)
    # What this project does not decode itself; B-frames in AVI have no times of their own.
    by_libraries = {}
    for name, data in [("mpeg4_b_frames.avi", encode(codec="mpeg4", file_format="avi", tags={"max_b_frames": 2}))]:
        by_libraries[name] = expected(data, upright)
        (out / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes, {by_libraries[name]['frames']} frames", flush=True)
    # Files that have to be refused; what they lack is plain from the name.
    (out / "audio_only.mp4").write_bytes(audio_only())
    (out / "mpeg4.mp4").write_bytes(encode(codec="mpeg4", frames=3))
    (out / "vp8.webm").write_bytes(encode(codec="libvpx", frames=3, file_format="webm"))
    full_chroma = {"frames": 3, "pixel_format": "yuv444p"}
    vp9_444 = encode("profile=1", codec="libvpx-vp9", file_format="webm", **full_chroma)
    (out / "vp9_444.webm").write_bytes(vp9_444)
    (out / "hevc_444.mp4").write_bytes(encode(codec="libx265", tag="hvc1", **full_chroma))
    (out / "high_422.mp4").write_bytes(encode("", frames=3, pixel_format="yuv422p"))
    versions = {"av": av.__version__, **{name: ".".join(map(str, v)) for name, v in av.library_versions.items()}}
    document = {"made_by": "xtask/python/make_decode_fixtures.py", "versions": versions, "clips": clips,
                "by_libraries": by_libraries}
    (out / "expected.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
