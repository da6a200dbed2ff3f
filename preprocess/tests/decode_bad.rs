//! Files that are no videos, or damaged, or absurd: an error that says so, never a panic or a hang, from every decoder
//! that is compiled in.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use videomae_preprocess::decode::Decoder;
use videomae_preprocess::{Error, VideoOptions, VideoReader, open_video, open_video_with, read_frames};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/video")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).expect("the fixture exists")
}

/// Writes `bytes` to a file called `clip.mp4`, which lives as long as the directory.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("clip.mp4");
    std::fs::write(&path, bytes).expect("a small file can be written");
    (directory, path)
}

/// The decoders that run in this process. Without the program that the machine may have, with which other messages would
/// be right.
const DECODERS: &[Decoder] =
    if cfg!(feature = "libav") { &[Decoder::Builtin, Decoder::Libav] } else { &[Decoder::Builtin] };

/// The message of opening `bytes` and reading all its frames, without the path.
fn message(bytes: &[u8]) -> String {
    message_by(bytes, Decoder::Builtin)
}

fn message_by(bytes: &[u8], decoder: Decoder) -> String {
    let (_directory, path) = file(bytes);
    let error = read_all(&path, decoder).expect_err("the file is bad").to_string();
    let (start, rest) = error.split_once(": ").expect("the message starts with the path");
    assert_eq!(start, path.display().to_string());
    rest.replace(&path.display().to_string(), "clip.mp4")
}

/// Opens a file with the decoders of the crate.
fn open(path: &Path) -> Result<Box<dyn VideoReader>, Error> {
    open_by(path, Decoder::Builtin)
}

fn open_by(path: &Path, decoder: Decoder) -> Result<Box<dyn VideoReader>, Error> {
    let mut options = VideoOptions::default();
    options.decoder = decoder;
    open_video_with(path, options)
}

/// Opens a file and reads up to a hundred frames.
fn read_all(path: &Path, decoder: Decoder) -> Result<usize, Error> {
    let mut reader = open_by(path, decoder)?;
    let all: Vec<usize> = (0..reader.info().num_frames.min(100)).collect();
    Ok(read_frames(&mut *reader, &all)?.num_frames())
}

/// Where the body of the first box called `kind` starts.
fn find(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|window| window == kind).expect("the fixture has the box") + 4
}

#[test]
fn files_that_are_no_video_are_named_for_what_they_are() {
    for (bytes, expected) in [
        (&b""[..], "not a video: the file is empty"),
        (b"\0", "not a video: the file starts with \"\\x00\""),
        (b"hello, this is text", "not a video: the file starts with \"hello, this \""),
        (
            b"  <!DOCTYPE html><html></html>",
            "not a video: the file is HTML or XML, perhaps an error page saved in place of a download",
        ),
        (
            b"\xff\xd8\xff\xe0\0\x10JFIF",
            "not a video: the file is one JPEG picture; a folder of them is a video",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "not a video: the file is a Git LFS pointer; fetch the video with: git lfs pull",
        ),
        (
            b"\x1a\x45\xdf\xa3 and so on",
            "damaged matroska file: element declared size of 24942 bytes but only 7 bytes are available",
        ),
        (
            b"RIFF\0\0\0\0AVI LIST",
            "not supported: AVI (MP4, MOV, Matroska, WebM and GIF are what is supported); convert it with: \
             ffmpeg -i clip.mp4 -c:v libx264 -pix_fmt yuv420p clip-h264.mp4",
        ),
        (
            b"\0\0\0\x10ftypisom\0\0\0\0",
            "damaged mp4 file: there is no moov box, which lists the frames (found ftyp): the file is incomplete",
        ),
    ] {
        assert_eq!(message(bytes), expected);
    }
}

#[test]
fn a_missing_file_and_an_empty_folder_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.mp4");
    assert!(matches!(open_video(&missing), Err(Error::Io { path, .. }) if path == missing));
    let error = open_video(directory.path()).err().expect("a directory is no video");
    assert_eq!(
        error.to_string(),
        format!(
            "{}: not a video: a folder without pictures: none of its 0 entries is a file in .jpg, .jpeg, .png, .webp",
            directory.path().display()
        )
    );
}

#[test]
fn sound_without_video_and_other_codecs_are_refused_by_name() {
    assert_eq!(message(&fixture("audio_only.mp4")), "no video track, found soun");
    let fix = "convert it with: ffmpeg -i clip.mp4 -c:v libx264 -pix_fmt yuv420p clip-h264.mp4";
    assert_eq!(
        message(&fixture("mpeg4.mp4")),
        format!(
            "not supported: MPEG-4 part 2 (\"mp4v\") in MP4 (H.264, HEVC and VP9 are what is supported); {fix}"
        )
    );
    assert_eq!(
        message(&fixture("high_422.mp4")),
        format!("not supported: h264 (High 4:2:2): 4:2:2 with 8 bits a sample (only 4:2:0 with 8 is); {fix}")
    );
    assert_eq!(
        message(&fixture("hevc_444.mp4")),
        format!("not supported: hevc (Rext): 4:4:4 with 8 bits a sample (only 4:2:0 with 8 or 10 is); {fix}")
    );
    assert_eq!(
        message(&fixture("vp9_444.webm")),
        format!("not supported: vp9 (Profile 1): another format than 4:2:0; {fix}")
    );
}

#[test]
fn other_codecs_in_matroska_are_refused_by_name_and_a_cut_file_says_so() {
    assert_eq!(
        message(&fixture("vp8.webm")),
        "not supported: V_VP8 (H.264, HEVC and VP9 are what is supported); \
         convert it with: ffmpeg -i clip.mp4 -c:v libx264 -pix_fmt yuv420p clip-h264.mp4"
    );
    let bytes = fixture("high_b_frames.mkv");
    let text = message(&bytes[..bytes.len() * 2 / 3]);
    let expected = "damaged matroska file: the file ends in the middle of an element, after byte ";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_track_that_changes_its_codec_is_refused() {
    let mut bytes = fixture("hevc_b_frames.mp4");
    let entry = find(&bytes, b"hvc1") - 4;
    bytes[entry..entry + 4].copy_from_slice(b"avc1");
    assert_eq!(message(&bytes), "damaged mp4 file: the sample description has no avcC box");
    bytes[entry..entry + 4].copy_from_slice(b"vp09");
    assert_eq!(message(&bytes), "damaged mp4 file: the header of a frame is damaged");
}

#[test]
fn a_picture_without_its_slices_is_an_error_and_those_before_it_are_not() {
    let bytes = fixture("vp9_key_frames.mp4");
    let (_directory, path) = file(&bytes);
    let mut reader = open(&path).unwrap();
    let whole = read_frames(&mut *reader, &[0, 1]).unwrap();
    // Frame 2 is overwritten with the marker bits of another codec: its header cannot be read.
    let second = position(&bytes, 2);
    let mut damaged = bytes.clone();
    damaged[second] = 0;
    let (_directory, path) = file(&damaged);
    let mut reader = open(&path).unwrap();
    assert_eq!(read_frames(&mut *reader, &[0, 1]).unwrap(), whole);
    let error = read_frames(&mut *reader, &[0, 1, 2]).unwrap_err().to_string();
    let expected = "2 of 3 frames could be decoded: coded picture 2: the header of a frame is damaged";
    assert!(error.ends_with(expected), "{error}");
}

/// Where sample `index` of an MP4 file with a single chunk starts.
fn position(bytes: &[u8], index: usize) -> usize {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    // After version and flags: the one size for all (0) and the count, then sizes; the count, then chunk offsets.
    let sizes = find(bytes, b"stsz") + 12;
    assert_eq!(word(find(bytes, b"stco") + 4), 1, "one chunk");
    word(find(bytes, b"stco") + 8) + (0..index).map(|sample| word(sizes + 4 * sample)).sum::<usize>()
}

#[test]
fn a_track_without_samples_has_no_frames() {
    let mut bytes = fixture("baseline.mp4");
    let count = find(&bytes, b"stsz") + 8;
    bytes[count..count + 4].copy_from_slice(&[0; 4]);
    assert_eq!(message(&bytes), "the video track has no frames");
}

#[test]
fn a_file_cut_short_says_how_many_frames_there_are() {
    let bytes = fixture("moov_first.mp4");
    for &decoder in DECODERS {
        // The frames are at the end: the last tenth is missing.
        let text = message_by(&bytes[..bytes.len() * 9 / 10], decoder);
        let (count, rest) = text.split_once(" of 20 frames could be decoded: coded picture ").expect(&text);
        assert!((1..20).contains(&count.parse::<usize>().unwrap()), "{text}");
        assert!(rest.contains("the file ends at"), "{text}");
    }
    let bytes = fixture("high_b_frames.mp4");
    // The index is at the end, and gone.
    assert!(message(&bytes[..bytes.len() * 9 / 10]).starts_with("damaged mp4 file: "));
}

#[test]
fn frames_before_the_damage_can_still_be_read() {
    let bytes = fixture("moov_first.mp4");
    let (_directory, path) = file(&bytes[..bytes.len() * 9 / 10]);
    for &decoder in DECODERS {
        let mut reader = open_by(&path, decoder).unwrap();
        assert_eq!(read_frames(&mut *reader, &[0, 5]).unwrap().num_frames(), 2);
        let error = read_frames(&mut *reader, &[0, 5, 19]).unwrap_err();
        let expected = matches!(error, Error::FramesMissing { decoded: 2, requested: 3, .. });
        assert!(expected, "{decoder}: {error}");
    }
}

#[test]
fn a_frame_past_the_end_is_an_error() {
    let mut reader = open_video(fixtures().join("baseline.mp4")).unwrap();
    let error = read_frames(&mut *reader, &[3, 20]).unwrap_err().to_string();
    assert!(error.ends_with("baseline.mp4: frame 20 was asked for, the video has 20 (0 to 19)"), "{error}");
    assert!(matches!(read_frames(&mut *reader, &[]), Err(Error::Shape { .. })), "no frames is no result");
}

#[test]
fn a_huge_picture_is_refused_before_it_is_decoded() {
    // A parameter set of Baseline profile, level 1, that asks for 65536 macroblocks in each direction: after the
    // fixed bytes, ue(0) ue(0) ue(0) ue(0) ue(0) 0 ue(65535) ue(65535) 1 1 0 0 and the stop bit.
    let mut bits = "11111".to_owned() + "0";
    for _ in 0..2 {
        bits += &"0".repeat(16);
        bits += "10000000000000000";
    }
    bits += "11001";
    let nal: Vec<u8> = [0x67, 66, 0, 10]
        .into_iter()
        .chain(bits.as_bytes().chunks(8).map(|chunk| {
            let text = format!("{:0<8}", std::str::from_utf8(chunk).unwrap());
            u8::from_str_radix(&text, 2).unwrap()
        }))
        .collect();
    let mut bytes = fixture("baseline.mp4");
    // Version, profile, compatibility, level, length size, count, and the length of the set.
    let set = find(&bytes, b"avcC") + 6;
    let room = usize::from(u16::from_be_bytes([bytes[set], bytes[set + 1]]));
    assert!(nal.len() <= room, "{} bytes do not fit in {room}", nal.len());
    bytes[set + 2..set + 2 + nal.len()].copy_from_slice(&nal);
    let expected = "1048576×1048576 pixels, the limit is 16384 a side and 67108864 in all";
    for &decoder in DECODERS {
        assert_eq!(message_by(&bytes, decoder), expected);
    }
}

#[test]
fn more_output_than_allowed_is_refused_before_memory_is_set_aside() {
    let mut options = VideoOptions::default();
    options.limits.output_bytes = 3 * 64 * 48 * 3;
    let mut reader = open_video_with(fixtures().join("baseline.mp4"), options).unwrap();
    assert!(read_frames(&mut *reader, &[0, 1, 2]).is_ok());
    let error = read_frames(&mut *reader, &[0, 1, 2, 3]).unwrap_err().to_string();
    assert!(error.ends_with("4 frames of 9216 bytes, the limit is 27648 bytes at a time"), "{error}");
}

#[test]
fn a_table_that_promises_more_samples_than_bytes_is_refused() {
    let mut bytes = fixture("baseline.mp4");
    let table = find(&bytes, b"stsz") + 4;
    // One size for all, and four billion samples.
    bytes[table..table + 8].copy_from_slice(&[0, 0, 0, 1, 255, 255, 255, 255]);
    let text = message(&bytes);
    assert!(
        text.starts_with("damaged mp4 file: the sample table promises 4294967295 pictures in "),
        "{text}"
    );
}

/// A clip of every kind of container and coding, small enough to damage hundreds of times.
const VICTIMS: [&str; 15] = [
    "baseline.mp4",
    "main_cavlc.mp4",
    "fragmented.mp4",
    "interlaced.mp4",
    "edit_from_middle.mp4",
    "two_keyframes.mov",
    "high_b_frames.mkv",
    "vp8.webm",
    "mpeg4.mp4",
    "hevc_b_frames.mp4",
    "hevc_open_gop.mkv",
    "hevc_in_band.mp4",
    "hevc_10_bit.mp4",
    "vp9_hidden.webm",
    "vp9_key_frames.mp4",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_directory, path) = file(&bytes);
        for &decoder in DECODERS {
            prop_assert!(read_all(&path, decoder).is_err());
        }
    }

    #[test]
    fn random_boxes_are_an_error(
        boxes in prop::collection::vec((prop::sample::select(vec![
            *b"moov", *b"trak", *b"mdia", *b"minf", *b"stbl", *b"stsd", *b"stsz", *b"moof", *b"traf", *b"trun", *b"tkhd",
        ]), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 1..12)
    ) {
        // Each box claims a size that is unrelated to what it holds, so that some of them nest.
        let mut bytes = b"\0\0\0\x10ftypisom\0\0\0\0".to_vec();
        for (kind, size, body) in boxes {
            bytes.extend([0, 0, 0, size]);
            bytes.extend(kind);
            bytes.extend(body);
        }
        let (_directory, path) = file(&bytes);
        for &decoder in DECODERS {
            prop_assert!(read_all(&path, decoder).is_err());
        }
    }

    #[test]
    fn random_elements_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_directory, path) = file(&[b"\x1a\x45\xdf\xa3".as_slice(), &bytes].concat());
        for &decoder in DECODERS {
            prop_assert!(read_all(&path, decoder).is_err());
        }
    }

    #[test]
    fn a_damaged_clip_gives_all_its_frames_or_an_error(
        victim in prop::sample::select(VICTIMS.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = fixture(victim);
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let (_directory, path) = file(&bytes);
        for &decoder in DECODERS {
            if let Err(error) = read_all(&path, decoder) {
                prop_assert!(!error.to_string().contains("took longer"), "{decoder}, {victim}: {error}");
            }
        }
    }

    #[test]
    fn a_truncated_clip_gives_fewer_frames_only_with_an_error(
        victim in prop::sample::select(vec!["moov_first.mp4", "fragmented.mp4", "high_b_frames.mp4"]),
        keep in any::<prop::sample::Index>(),
    ) {
        let bytes = fixture(victim);
        let (_directory, path) = file(&bytes[..keep.index(bytes.len())]);
        for &decoder in DECODERS {
            match read_all(&path, decoder) {
                Err(_) => {}
                // Whole fragments stand for themselves: the file does not say that there were more.
                Ok(frames) => {
                    prop_assert!(victim == "fragmented.mp4" || frames == 20, "{decoder}, {victim}: {frames} frames");
                }
            }
        }
    }
}
