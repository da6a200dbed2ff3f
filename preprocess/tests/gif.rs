//! Frames of GIF files are those of FFmpeg, bit for bit: every frame of every fixture against the SHA-256 that
//! `xtask/python/fixtures/pictures.py` wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use videomae_preprocess::decode::Decoder;
use videomae_preprocess::{Error, Frames, VideoOptions, VideoReader, open_video_with, read_frames};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/pictures/gif")
}

/// One file of `expected.json`.
#[derive(serde::Deserialize)]
struct Expected {
    width: usize,
    height: usize,
    /// In hundredths of a second.
    times: Vec<u64>,
    /// Frames that Pillow composes to the same pixels.
    same_in_pillow: usize,
    sha256: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Document {
    files: BTreeMap<String, Expected>,
}

fn expected() -> BTreeMap<String, Expected> {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("the fixture exists");
    serde_json::from_str::<Document>(&text).expect("the fixture is what the script wrote").files
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn open(path: &Path) -> Result<Box<dyn VideoReader>, Error> {
    let mut options = VideoOptions::default();
    options.decoder = Decoder::Builtin;
    open_video_with(path, options)
}

fn read_all(path: &Path) -> Result<Frames, Error> {
    let mut reader = open(path)?;
    let all: Vec<usize> = (0..reader.info().num_frames).collect();
    read_frames(&mut *reader, &all)
}

#[test]
fn every_frame_and_time_of_every_file_is_that_of_ffmpeg() {
    let files = expected();
    assert!(files.len() >= 19, "the list of files is complete");
    for (name, expected) in &files {
        let path = fixtures().join(name);
        let reader = open(&path).unwrap();
        let info = reader.info();
        assert_eq!((info.width, info.height), (expected.width, expected.height), "{name}");
        let times: Vec<f64> = expected.times.iter().map(|&time| time as f64 / 100.0).collect();
        assert_eq!(reader.times(), times, "{name}");
        let frames = read_all(&path).unwrap();
        let hashes: Vec<String> = (0..frames.num_frames()).map(|index| digest(frames.frame(index))).collect();
        assert_eq!(hashes, expected.sha256, "{name}");
    }
    let frames = |file: &Expected| file.sha256.len();
    let agree = files.values().filter(|file| file.same_in_pillow == frames(file)).count();
    assert!(agree >= 9, "where pictures cover the canvas, Pillow agrees; it does in {agree} files");
}

#[test]
fn each_frame_alone_is_the_same_as_in_a_whole_read() {
    for (name, expected) in expected() {
        let mut reader = open(&fixtures().join(&name)).unwrap();
        for (index, hash) in expected.sha256.iter().enumerate().rev().step_by(3) {
            let frames = read_frames(&mut *reader, &[index]).unwrap();
            assert_eq!(&digest(frames.frame(0)), hash, "{name}: frame {index}");
        }
    }
}

#[test]
fn rate_duration_and_names_are_reported() {
    let reader = open(&fixtures().join("delays.gif")).unwrap();
    let info = reader.info();
    assert_eq!(
        (info.container.as_str(), info.codec.as_str(), info.decoder.as_str()),
        ("gif", "gif", "builtin")
    );
    // Delays of 10 (for 0), 1, 2, 7, 10 (for 0), 65535 and 3 hundredths.
    assert_eq!((info.frame_rate, info.duration), (Some(600.0 / 65565.0), Some(655.68)));
    let reader = open(&fixtures().join("one_frame.gif")).unwrap();
    assert_eq!((reader.info().frame_rate, reader.info().duration), (None, None));
}

/// Writes `bytes` to a file, which lives as long as the folder, and gives the message without the path.
fn message(bytes: &[u8]) -> Result<usize, String> {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let path = folder.path().join("a.gif");
    std::fs::write(&path, bytes).expect("a small file can be written");
    match read_all(&path) {
        Ok(frames) => Ok(frames.num_frames()),
        Err(error) => Err(error.to_string().replacen(&format!("{}: ", path.display()), "", 1)),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).expect("the fixture exists")
}

#[test]
fn damage_is_told_with_the_number_of_the_picture() {
    let plain = fixture("plain.gif");
    let picture = plain.windows(2).position(|pair| pair == b"\x2c\0").unwrap();
    let last = plain.windows(2).rposition(|pair| pair == b"\x21\xf9").unwrap();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = plain.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        bytes
    };
    for (bytes, expected) in [
        (with(6, &[0, 0]), "damaged gif file: the canvas has 0×18 pixels"),
        (with(6, &[255, 255, 255, 255]), "65535×65535 pixels, the limit is 16384 a side and 67108864 in all"),
        (
            with(picture + 5, &[25]),
            "damaged gif file: picture 0 has 25×18 pixels at (0, 0) of a canvas of 24×18",
        ),
        (
            with(picture + 1, &[24]),
            "damaged gif file: picture 0 has 24×18 pixels at (24, 0) of a canvas of 24×18",
        ),
        (
            with(picture + 5, &[0]),
            "damaged gif file: picture 0 has 0×18 pixels at (0, 0) of a canvas of 24×18",
        ),
        (with(picture + 10, &[99]), "damaged gif file: picture 0: invalid minimal code size"),
        (with(last, b"?"), "damaged gif file: picture 4: unknown block type encountered"),
        (
            plain[..plain.len() - 30].to_vec(),
            "4 of 5 frames could be decoded: picture 4: the file ends inside it",
        ),
        (plain[..9].to_vec(), "damaged gif file: the file ends inside its header"),
        (plain[..picture].to_vec(), "damaged gif file: the file ends before its first picture"),
        (b"GIF89a\x01\0\x01\0\0\0\0;".to_vec(), "damaged gif file: the file ends before its first picture"),
    ] {
        assert_eq!(message(&bytes), Err(expected.to_owned()));
    }
}

#[test]
fn frames_before_the_damage_can_still_be_read() {
    let plain = fixture("plain.gif");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    std::fs::write(&path, &plain[..plain.len() - 30]).unwrap();
    let mut reader = open(&path).unwrap();
    assert_eq!(read_frames(&mut *reader, &[0, 3]).unwrap().num_frames(), 2);
    let error = read_frames(&mut *reader, &[0, 5]).unwrap_err();
    assert!(matches!(error, Error::FrameIndex { index: 5, num_frames: 5, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_damaged_file_gives_all_its_frames_or_an_error(
        victim in prop::sample::select(vec!["mixed.gif", "full_table.gif", "comments.gif", "past_the_border.gif"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(victim);
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.map_or(bytes.len(), |keep| keep.index(bytes.len())));
        if let Err(text) = message(&bytes) {
            prop_assert!(!text.contains("took longer") && !text.contains("panicked"), "{victim}: {text}");
        }
    }
}
