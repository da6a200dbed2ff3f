use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sequence::SequenceReader;
use super::*;
use crate::decode::{Decoder, VideoInfo, ffmpeg, open_video_with, read_frames};
use crate::{Frames, Result};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/video").join(name)
}

fn open_by(decoder: Decoder, path: &Path) -> Box<dyn VideoReader> {
    let options = VideoOptions { decoder, ..VideoOptions::default() };
    open_video_with(path, options).unwrap_or_else(|error| panic!("{decoder}: {error}"))
}

/// A file through FFmpeg's demuxers, although this crate may know it.
fn sequence(path: &Path, options: VideoOptions) -> Result<SequenceReader> {
    initialize();
    SequenceReader::new(path, options, "not tried")
}

fn read_all(reader: &mut dyn VideoReader) -> Frames {
    let all: Vec<usize> = (0..reader.info().num_frames).collect();
    read_frames(reader, &all).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_whole_sequence_is_what_the_index_of_the_file_promises() {
    for name in [
        "high_b_frames.mp4",
        "interlaced.mp4",
        "high_b_frames.mkv",
        "full_range.mp4",
        "bt709_full.mp4",
        "rotated_90.mp4",
        "rotated_270.mp4",
        "mirrored.mp4",
        "odd_width.mp4",
        "monochrome.mp4",
        "variable_rate.mp4",
        "fragmented.mp4",
        "edit_from_middle.mp4",
        "cut_before_keyframe.mp4",
        "hevc_10_bit.mp4",
        "hevc_10_bit_top_left.mp4",
        "hevc_open_gop.mp4",
        "vp9_hidden_alone.mkv",
        "vp9_bt709_full.webm",
    ] {
        let mut expected = open_by(Decoder::Builtin, &fixture(name));
        let mut found = sequence(&fixture(name), VideoOptions::default()).unwrap();
        let shape = |info: &VideoInfo| (info.num_frames, info.width, info.height, info.orientation);
        assert_eq!(shape(found.info()), shape(expected.info()), "{name}");
        assert_eq!(found.info().colour, expected.info().colour, "{name}");
        let times = found.times().into_iter().zip(expected.times());
        for (index, (found, expected)) in times.enumerate() {
            assert!((found - expected).abs() < 1e-3, "{name}: frame {index} at {found} s, not {expected} s");
        }
        assert!(read_all(&mut found) == read_all(&mut *expected), "{name}");
    }
}

#[test]
fn what_this_crate_does_not_know_is_what_the_program_makes_of_it() {
    let program = ffmpeg::find(None, std::env::var_os("PATH"));
    if program.inspect_err(|_| eprintln!("skipped: there is no ffmpeg program here")).is_err() {
        return;
    }
    for name in ["mpeg4.mp4", "vp8.webm", "mpeg4_b_frames.avi"] {
        let mut found = open_by(Decoder::Libav, &fixture(name));
        let mut expected = open_by(Decoder::Ffmpeg, &fixture(name));
        assert!(found.info().decoder.starts_with("libav (libavcodec "), "{}", found.info().decoder);
        assert_eq!(found.times().len(), expected.times().len(), "{name}");
        assert!(read_all(&mut *found) == read_all(&mut *expected), "{name}");
    }
}

#[test]
fn some_frames_of_a_sequence_are_those_of_all() {
    let path = fixture("mpeg4_b_frames.avi");
    let mut reader = open_by(Decoder::Libav, &path);
    let all = read_all(&mut *reader);
    let some = read_frames(&mut *reader, &[19, 3, 3, 0]).unwrap();
    for (slot, index) in [19, 3, 3, 0].into_iter().enumerate() {
        assert!(some.frame(slot) == all.frame(index), "frame {index}");
    }
    let error = read_frames(&mut *reader, &[20]).unwrap_err().to_string();
    assert!(error.ends_with("frame 20 was asked for, the video has 20 (0 to 19)"), "{error}");
}

#[test]
fn other_formats_are_refused_with_the_reasons_of_both() {
    let path = fixture("high_422.mp4");
    let options = VideoOptions { decoder: Decoder::Libav, ..VideoOptions::default() };
    let error = open_video_with(&path, options).err().map(|error| error.to_string()).unwrap();
    let expected = "not supported: h264 (High 4:2:2): 4:2:2 with 8 bits a sample (only 4:2:0 with 8 is); \
                    with libav: pictures in YUV422P (only YUV 4:2:0 is read by libav); ";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn sizes_and_time_are_bounded() {
    let path = fixture("mpeg4.mp4");
    let mut options = VideoOptions::default();
    options.limits.pixels = 64 * 48 - 1;
    let error = sequence(&path, options).err().map(|error| error.to_string()).unwrap();
    assert!(error.contains("mpeg4 with up to 3071 pixels a picture: invalid argument"), "{error}");
    let mut options = VideoOptions::default();
    options.limits.per_read = Duration::ZERO;
    let error = sequence(&path, options).err().map(|error| error.to_string()).unwrap();
    assert!(error.contains("took longer than 0 s"), "{error}");
}

#[test]
fn no_file_can_make_the_libraries_open_another() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("baseline.mp4"), folder.path().join("other.mp4")).unwrap();
    let path = folder.path().join("list.mp4");
    for content in
        ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n"]
    {
        std::fs::write(&path, content).unwrap();
        let error = sequence(&path, VideoOptions::default()).err().map(|error| error.to_string()).unwrap();
        assert!(error.contains("with libav: invalid "), "{error}");
    }
}

#[test]
fn damage_is_an_error_for_the_frames_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    let mut bytes = std::fs::read(fixture("mpeg4_b_frames.avi")).unwrap();
    // In the middle of the coded pictures, which lie between a list and an index.
    let place = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    let middle = place(b"movi").midpoint(place(b"idx1"));
    bytes[middle..middle + 200].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let mut reader = open_by(Decoder::Libav, &path);
    assert_eq!(read_frames(&mut *reader, &[0]).unwrap().num_frames(), 1);
    let last = reader.info().num_frames - 1;
    let error = read_frames(&mut *reader, &[0, last]).err().map(|error| error.to_string()).unwrap();
    let expected =
        error.contains("1 of 2 frames could be decoded: frame ") && error.contains(" or one before it: ");
    assert!(expected, "{error}");
}
