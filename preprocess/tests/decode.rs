//! Decoded frames are those of FFmpeg, bit for bit: every frame of every fixture against the SHA-256 that
//! `xtask/python/make_decode_fixtures.py` wrote; where the conversion to RGB is another one, the planes bit for bit and
//! RGB within a tolerance. All of it holds for every decoder that is compiled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use videomae_preprocess::decode::{Decoder, Picture};
use videomae_preprocess::{
    Frames, VideoOptions, VideoReader, open_video, open_video_with, read_frames, read_npy,
};

/// The decoders that are tested.
const DECODERS: &[Decoder] =
    if cfg!(feature = "libav") { &[Decoder::Auto, Decoder::Libav] } else { &[Decoder::Auto] };

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/video")
}

/// One clip of `expected.json`.
#[derive(serde::Deserialize)]
struct Expected {
    frames: usize,
    width: usize,
    height: usize,
    /// The hashes are of the planes and not of RGB.
    #[serde(default)]
    planes: bool,
    sha256: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Document {
    clips: BTreeMap<String, Expected>,
    /// Those that the decoders of the crate do not know.
    by_libraries: BTreeMap<String, Expected>,
}

fn expected() -> Document {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("the fixture exists");
    serde_json::from_str(&text).expect("the fixture is what the script wrote")
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn open(name: &str, decoder: Decoder) -> Box<dyn VideoReader> {
    let mut options = VideoOptions::default();
    options.decoder = decoder;
    open_video_with(fixtures().join(name), options).unwrap_or_else(|error| panic!("{decoder}: {error}"))
}

fn read(name: &str, decoder: Decoder, indices: &[usize]) -> Frames {
    let frames = read_frames(&mut *open(name, decoder), indices);
    frames.unwrap_or_else(|error| panic!("{decoder}: {error}"))
}

#[test]
fn every_frame_of_every_clip_is_that_of_ffmpeg() {
    let document = expected();
    assert!(document.clips.len() >= 50, "the list of clips is complete");
    let clips: Vec<_> = document.clips.into_iter().filter(|(_, expected)| !expected.planes).collect();
    for (decoder, (name, expected)) in on_each_decoder(&clips) {
        compare(decoder, name, expected);
    }
    if cfg!(feature = "libav") {
        assert!(!document.by_libraries.is_empty(), "there are clips that only the libraries know");
        document.by_libraries.iter().for_each(|(name, expected)| compare(Decoder::Libav, name, expected));
    }
}

/// Compares every frame of a clip with what is expected.
fn compare(decoder: Decoder, name: &str, expected: &Expected) {
    let mut reader = open(name, decoder);
    let info = reader.info().clone();
    let size = (expected.frames, expected.width, expected.height);
    assert_eq!((info.num_frames, info.width, info.height), size, "{decoder}, {name}: frames, width, height");
    let all: Vec<usize> = (0..info.num_frames).collect();
    let frames = read_frames(&mut *reader, &all).unwrap_or_else(|error| panic!("{decoder}, {name}: {error}"));
    for (index, hash) in expected.sha256.iter().enumerate() {
        assert_eq!(&digest(frames.frame(index)), hash, "{decoder}, {name}: frame {index}");
    }
}

#[test]
fn every_plane_is_that_of_ffmpeg_where_rgb_is_not() {
    let clips: Vec<_> = expected().clips.into_iter().filter(|(_, expected)| expected.planes).collect();
    let mut compared = 0;
    for (decoder, (name, expected)) in on_each_decoder(&clips) {
        let mut reader = open(name, decoder);
        let all: Vec<usize> = (0..reader.info().num_frames).collect();
        assert_eq!(all.len(), expected.sha256.len(), "{name}: frames");
        let each = &mut |index: usize, picture: &Picture| {
            assert_eq!(picture.size(), (expected.width, expected.height), "{name}: size");
            assert_eq!(digest(&planes(picture)), expected.sha256[index], "{decoder}, {name}: frame {index}");
            compared += 1;
        };
        reader.read_pictures(&all, each).unwrap_or_else(|error| panic!("{decoder}, {name}: {error}"));
    }
    assert!(compared >= 24 * DECODERS.len(), "{compared} frames");
}

/// Every pair of a decoder and an item.
fn on_each_decoder<T>(items: &[T]) -> impl Iterator<Item = (Decoder, &T)> {
    DECODERS.iter().flat_map(move |&decoder| items.iter().map(move |item| (decoder, item)))
}

/// All samples of a picture, those of more than 8 bits as two bytes, the low one first.
fn planes(picture: &Picture) -> Vec<u8> {
    match picture {
        Picture::Yuv(frame) => [&frame.y[..], &frame.u, &frame.v].concat(),
        Picture::DeepYuv { frame, .. } => {
            let all = frame.y.iter().chain(&frame.u).chain(&frame.v);
            all.flat_map(|sample| sample.to_le_bytes()).collect()
        }
        Picture::Rgb(_) => panic!("the clips are YUV"),
    }
}

#[test]
fn rgb_of_interpolated_chroma_is_that_of_ffmpeg_within_a_tolerance() {
    /// FFmpeg rounds samples to 8 bits before it looks them up in tables; the differences measured are up to 3.
    const TOLERANCE: u8 = 4;
    let clips = ["hevc_10_bit.mp4", "hevc_10_bit_top_left.mp4", "vp9_odd_height.webm", "vp9_odd.webm"];
    for (decoder, &name) in on_each_decoder(&clips) {
        let array = read_npy(fixtures().join(name).with_extension("npy")).expect("the fixture exists");
        let indices: Vec<usize> = (0..array.num_frames()).collect();
        let found = read(name, decoder, &indices);
        assert_eq!((found.height(), found.width()), (array.height(), array.width()), "{name}");
        let pairs = found.as_bytes().iter().zip(array.as_bytes());
        let worst = pairs.map(|(a, b)| a.abs_diff(*b)).enumerate().max_by_key(|&(_, difference)| difference);
        let (at, difference) = worst.expect("there are pixels");
        assert!(difference <= TOLERANCE, "{decoder}, {name}: byte {at} differs by {difference}");
    }
}

#[test]
fn each_frame_alone_is_the_same_as_in_a_whole_read() {
    // Skips other pictures than a whole read does, and starts elsewhere.
    let clips = [
        "high_b_frames.mp4",
        "open_gop.mp4",
        "interlaced.mp4",
        "two_keyframes.mov",
        "open_gop.mkv",
        "cut_before_keyframe.mp4",
        "hevc_open_gop.mp4",
        "hevc_cut_at_open_keyframe.mp4",
        "hevc_radl.mov",
        "hevc_layers.mp4",
        "vp9_hidden.webm",
        "vp9_key_frames.mp4",
    ];
    for (decoder, &name) in on_each_decoder(&clips) {
        let hashes = &expected().clips[name].sha256;
        for (index, hash) in hashes.iter().enumerate() {
            let frame = read(name, decoder, &[index]);
            assert_eq!(&digest(frame.frame(0)), hash, "{decoder}, {name}: frame {index}");
        }
    }
}

#[test]
fn frames_come_in_the_order_asked_for_and_as_often() {
    let hashes = &expected().clips["high_b_frames.mp4"].sha256;
    let indices = [7, 3, 3, 19, 0, 7];
    for &decoder in DECODERS {
        let frames = read("high_b_frames.mp4", decoder, &indices);
        for (slot, index) in indices.into_iter().enumerate() {
            assert_eq!(digest(frames.frame(slot)), hashes[index], "{decoder}: slot {slot}");
        }
    }
}

#[test]
fn a_sideways_clip_is_left_sideways_on_request() {
    let mut options = VideoOptions::default();
    options.autorotate = false;
    let mut reader = open_video_with(fixtures().join("rotated_90.mp4"), options).unwrap();
    assert_eq!((reader.info().width, reader.info().height), (64, 32));
    let coded = read_frames(&mut *reader, &[2]).unwrap();
    let upright = read("rotated_90.mp4", Decoder::Auto, &[2]);
    assert_eq!((upright.width(), upright.height()), (32, 64));
    // Clockwise: the first row becomes the last column.
    for x in 0..64 {
        let shown = (x * 32 + 31) * 3;
        assert_eq!(
            coded.frame(0)[x * 3..][..3],
            upright.frame(0)[shown..][..3],
            "pixel {x} of the first row"
        );
    }
}

#[test]
fn rate_duration_and_codec_are_reported() {
    let reader = open_video(fixtures().join("high_b_frames.mp4")).unwrap();
    let info = reader.info();
    assert_eq!((info.container.as_str(), info.codec.as_str()), ("mp4", "h264 (High)"));
    assert_eq!((info.frame_rate, info.duration), (Some(25.0), Some(0.8)));
}
