//! Folders of pictures against what Pillow reads, as `xtask/python/fixtures/pictures.py` wrote it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use videomae_preprocess::{Error, Frames, VideoOptions, open_video, open_video_with, read_frames};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/pictures/folders")
}

#[derive(serde::Deserialize)]
struct Expected {
    name: String,
    sha256: String,
}

#[derive(serde::Deserialize)]
struct Document {
    folders: BTreeMap<String, Vec<Expected>>,
}

fn expected() -> BTreeMap<String, Vec<Expected>> {
    let text = fs::read_to_string(fixtures().join("expected.json")).expect("the fixture exists");
    serde_json::from_str::<Document>(&text).expect("the fixture is what the script wrote").folders
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_all(folder: &Path) -> Result<Frames, Error> {
    let mut reader = open_video(folder)?;
    let all: Vec<usize> = (0..reader.info().num_frames).collect();
    read_frames(&mut *reader, &all)
}

/// A folder with copies of fixtures, under other names.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory can be made");
    for (from, to) in files {
        fs::copy(fixtures().join(from), folder.path().join(to)).expect("the fixture exists");
    }
    folder
}

/// The message of a folder that cannot be read, without its path.
fn message(folder: &Path) -> String {
    let error = read_all(folder).expect_err("the folder is bad").to_string();
    error.replace(&format!("{}/", folder.display()), "").replace(&format!("{}: ", folder.display()), "")
}

#[test]
fn png_and_webp_are_read_as_pillow_reads_them_in_natural_order() {
    let folders = expected();
    assert_eq!(folders.keys().collect::<Vec<_>>(), ["png", "turned", "webp"]);
    for (name, expected) in folders {
        let frames = read_all(&fixtures().join(&name)).unwrap();
        assert_eq!(
            (frames.num_frames(), frames.width(), frames.height()),
            (expected.len(), 49, 34),
            "{name}"
        );
        for (index, picture) in expected.iter().enumerate() {
            assert_eq!(digest(frames.frame(index)), picture.sha256, "{name}/{}", picture.name);
        }
    }
}

#[test]
fn jpeg_differs_from_libjpeg_turbo_by_no_more_than_is_stated() {
    let found = read_all(&fixtures().join("jpeg")).unwrap();
    let expected = read_all(&fixtures().join("jpeg_decoded")).unwrap();
    assert_eq!(found.num_frames(), expected.num_frames());
    for index in 0..found.num_frames() {
        let levels = found.frame(index).iter().zip(expected.frame(index));
        let differences: Vec<u8> = levels.map(|(a, b)| a.abs_diff(*b)).collect();
        let worst = differences.iter().max().copied().unwrap_or(0);
        let share = differences.iter().filter(|&&d| d > 0).count() as f64 / differences.len() as f64;
        assert!(worst <= 4 && share < 0.2, "picture {index}: up to {worst}, {share:.3} of all levels");
    }
}

#[test]
fn only_the_pictures_asked_for_are_decoded() {
    let folder =
        folder(&[("png/1_rgb.png", "a1.png"), ("png/2_grey.png", "a2.png"), ("png/3_bits.png", "a10.png")]);
    let damaged = folder.path().join("a2.png");
    let mut bytes = fs::read(&damaged).unwrap();
    let end = bytes.len() - 30;
    bytes[end] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let mut reader = open_video(folder.path()).unwrap();
    let frames = read_frames(&mut *reader, &[2, 0, 2]).unwrap();
    let expected = &expected()["png"];
    let hashes = [0, 1, 2].map(|slot| digest(frames.frame(slot)));
    assert_eq!(hashes, [2, 0, 2].map(|index: usize| expected[index].sha256.clone()));
    let error = read_frames(&mut *reader, &[1]).unwrap_err().to_string();
    assert!(
        error.contains("0 of 1 frames could be decoded: ") && error.contains("a2.png: damaged png file: "),
        "{error}"
    );
}

#[test]
fn a_folder_is_described_and_has_times_only_with_a_rate() {
    let folder = folder(&[("png/1_rgb.png", "1.png"), ("jpeg/1.jpg", "2.JPEG"), ("png/2_grey.png", "3.png")]);
    for hidden in [".4.png", "notes.txt", "._1.png"] {
        fs::write(folder.path().join(hidden), "no picture").unwrap();
    }
    fs::create_dir(folder.path().join("5.png")).unwrap();
    let reader = open_video(folder.path()).unwrap();
    let info = reader.info();
    assert_eq!((info.container.as_str(), info.codec.as_str()), ("folder", "jpeg and png"));
    assert_eq!((info.num_frames, info.frame_rate, info.duration), (3, None, None));
    let mut options = VideoOptions::default();
    options.frame_rate = Some(25.0);
    let reader = open_video_with(folder.path(), options).unwrap();
    assert_eq!((reader.info().frame_rate, reader.info().duration), (Some(25.0), Some(0.12)));
    assert_eq!(reader.times(), [0.0, 0.04, 0.08]);
    for (path, rate, expected) in [
        (folder.path().join("1.png"), 25.0, "expected none for a file, which tells its own, found 25"),
        (folder.path().to_owned(), 0.0, "expected a positive number, found 0"),
        (folder.path().to_owned(), f64::NAN, "expected a positive number, found NaN"),
    ] {
        options.frame_rate = Some(rate);
        let error = open_video_with(path, options).err().expect("the rate is refused").to_string();
        assert!(error.starts_with(&format!("frame_rate: {expected}")), "{error}");
    }
}

#[test]
fn what_cannot_be_a_video_is_refused_by_name() {
    let without = tempfile::tempdir().unwrap();
    fs::write(without.path().join("a.bmp"), "BM").unwrap();
    fs::write(without.path().join("b.txt"), "").unwrap();
    assert_eq!(
        message(without.path()),
        "not a video: a folder without pictures: none of its 2 entries is a file in .jpg, .jpeg, .png, .webp"
    );
    let other = folder(&[("png/1_rgb.png", "1.png"), ("refused/cmyk.jpg", "2.png")]);
    assert_eq!(
        message(other.path()),
        "2.png: not supported: jpeg for print, with four inks; convert it to PNG"
    );
    let other = folder(&[("refused/moving.webp", "2.webp")]);
    assert_eq!(message(other.path()), "2.webp: not supported: webp with an animation; convert it to PNG");
    let text = folder(&[("png/1_rgb.png", "1.png")]);
    fs::write(text.path().join("2.jpg"), "<html>").unwrap();
    assert_eq!(message(text.path()), "2.jpg: not a video: a picture that starts with \"<html>\"");
    let small =
        folder(&[("png/1_rgb.png", "9.png"), ("../gif/plain.gif", "10.txt"), ("png/2_grey.png", "11.png")]);
    let png = fs::read(fixtures().join("png/3_bits.png")).unwrap();
    fs::write(small.path().join("12.png"), &png[..20]).unwrap();
    assert!(message(small.path()).starts_with("12.png: damaged png file: "), "{}", message(small.path()));
}

#[test]
fn a_picture_of_another_size_is_named() {
    let mut options = VideoOptions::default();
    options.autorotate = false;
    let error = open_video_with(fixtures().join("turned"), options)
        .err()
        .expect("some lie on their side")
        .to_string();
    assert!(
        error.ends_with("frame9.png: picture: expected 49×34 pixels as frame5.png, found 34×49"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_damaged_picture_is_an_error_or_a_picture(
        victim in prop::sample::select(vec![
            "png/4_palette.PNG", "png/7_alpha.png", "webp/2_lossy.webp", "webp/1_lossless.webp", "jpeg/8.JPG",
            "jpeg/10.jpg", "jpeg/0.jpg",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let folder = folder(&[]);
        let mut bytes = fs::read(fixtures().join(victim)).expect("the fixture exists");
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        fs::write(folder.path().join("a.png"), bytes).expect("a small file can be written");
        if let Err(error) = read_all(folder.path()) {
            let text = error.to_string();
            prop_assert!(!text.contains("took longer"), "{victim}: {text}");
        }
    }

    #[test]
    fn a_picture_cut_short_is_an_error(
        victim in prop::sample::select(vec![
            "png/4_palette.PNG", "webp/2_lossy.webp", "webp/1_lossless.webp", "jpeg/8.JPG", "jpeg/10.jpg", "jpeg/0.jpg",
        ]),
        keep in any::<prop::sample::Index>(),
    ) {
        let folder = folder(&[]);
        let bytes = fs::read(fixtures().join(victim)).expect("the fixture exists");
        // The last bytes of a JPEG or WebP may be its end mark and padding only.
        let keep = keep.index(bytes.len() - 4);
        fs::write(folder.path().join("a.png"), &bytes[..keep]).expect("a small file can be written");
        prop_assert!(read_all(folder.path()).is_err(), "{victim}: {keep} of {} bytes", bytes.len());
    }
}
