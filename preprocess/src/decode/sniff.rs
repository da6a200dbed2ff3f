//! What a file is when it is not what was hoped for.

use std::fs::File;
use std::path::Path;

use super::conversion_hint;
use super::mp4::{Source, is_mp4};
use crate::{Error, Result};

/// Opens a file, and nothing else: a directory or a pipe has no length to check reads against.
pub(super) fn open_file(path: &Path) -> std::io::Result<File> {
    // Asked of the path first, because opening a named pipe waits for somebody to write to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path)
}

/// Containers that the decoders of this crate know.
pub(super) enum Container {
    Gif,
    Mp4,
    Matroska,
}

/// Says what the file is.
///
/// # Errors
/// When it is anything but one of [`Container`].
pub(super) fn container(path: &Path, source: &mut Source) -> Result<Container> {
    /// Enough for every signature below; the second sync byte of an MPEG transport stream comes last.
    const START: u64 = 189;
    let not_video = |found: String| Error::NotAVideo { path: path.to_owned(), found };
    if source.len() == 0 {
        return Err(not_video("the file is empty".to_owned()));
    }
    let start = source.read(0, source.len().min(START)).map_err(not_video)?;
    if is_mp4(&start) {
        return Ok(Container::Mp4);
    }
    if start.starts_with(b"\x1a\x45\xdf\xa3") {
        return Ok(Container::Matroska);
    }
    if start.starts_with(b"GIF87a") || start.starts_with(b"GIF89a") {
        return Ok(Container::Gif);
    }
    if let Some(container) = other_container(&start) {
        let what = format!("{container} (MP4, MOV, Matroska, WebM and GIF are what is supported)");
        return Err(Error::UnsupportedVideo { path: path.to_owned(), what, fix: conversion_hint(path) });
    }
    Err(not_video(other_kind(&start)))
}

/// Containers of moving pictures that are told apart by their first bytes.
fn other_container(start: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, bytes: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    let signatures = [
        ("AVI", at(0, b"RIFF") && at(8, b"AVI ")),
        ("Flash video", at(0, b"FLV\x01")),
        ("Ogg", at(0, b"OggS")),
        ("Windows media", at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
        ("MXF", at(0, b"\x06\x0e\x2b\x34")),
        ("RealMedia", at(0, b".RMF")),
        ("IVF", at(0, b"DKIF")),
        ("YUV4MPEG2", at(0, b"YUV4MPEG2 ")),
        ("a video stream without a container", at(0, b"\0\0\0\x01") || at(0, b"\0\0\x01\xb3")),
        ("an MPEG program stream", at(0, b"\0\0\x01\xba")),
        ("an MPEG transport stream", at(0, b"\x47") && at(188, b"\x47")),
    ];
    signatures.into_iter().find(|(_, found)| *found).map(|(name, _)| name)
}

/// Things that are often mistaken for a video; otherwise the first bytes themselves.
fn other_kind(start: &[u8]) -> String {
    let text = start.trim_ascii_start();
    if text.first() == Some(&b'<') {
        return "the file is HTML or XML, perhaps an error page saved in place of a download".to_owned();
    }
    if start.starts_with(b"version https://git-lfs") {
        return "the file is a Git LFS pointer; fetch the video with: git lfs pull".to_owned();
    }
    for (kind, signature) in [("JPEG", &b"\xff\xd8\xff"[..]), ("PNG", b"\x89PNG")] {
        if start.starts_with(signature) {
            return format!("the file is one {kind} picture; a folder of them is a video");
        }
    }
    if start.starts_with(b"PK\x03\x04") {
        return "the file is a ZIP archive".to_owned();
    }
    format!("the file starts with \"{}\"", start[..start.len().min(12)].escape_ascii())
}

/// A codec's usual name beside its four-character code in MP4.
pub(super) fn codec_name(coding: [u8; 4]) -> String {
    let name = match &coding {
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "HEVC",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"av01" => "AV1",
        b"mp4v" => "MPEG-4 part 2",
        b"jpeg" | b"mjpa" | b"mjpb" => "motion JPEG",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => "ProRes",
        b"encv" => "an encrypted track",
        _ => "an unknown codec",
    };
    format!("{name} (\"{}\")", coding.escape_ascii())
}
