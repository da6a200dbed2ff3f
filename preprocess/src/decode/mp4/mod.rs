//! MP4 and MOV files: the first video track, its samples and which of them are shown.
//!
//! The frame list comes from the tables that place every sample, never from a count in a header: a clip cut with
//! `ffmpeg -c copy` says 221 frames there and shows 122.

mod boxes;
mod edits;
mod fragments;
mod samples;

use mp4_atom::{Colr, Elst, Mdhd, Mvhd, Tkhd};

pub(crate) use boxes::{Checked, Source, leaf};

use self::boxes::{box_at, child, children, descend, leaf_of, name};
use self::edits::{Timescales, shown_samples};
use self::fragments::Fragments;
use super::orientation::Orientation;
use super::track::{Configuration, Description, NoTrack, Shown, Track};

/// Names of boxes that can start an MP4 or MOV file.
const FIRST_BOXES: [&[u8; 4]; 13] = [
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof", b"uuid",
    b"meta", b"junk",
];

/// Whether these first bytes of a file are those of an MP4 or MOV file.
pub(crate) fn is_mp4(start: &[u8]) -> bool {
    start.get(4..8).is_some_and(|kind| FIRST_BOXES.iter().any(|known| known.as_slice() == kind))
}

impl Track {
    /// Reads the first video track.
    pub(crate) fn read(source: &mut Source) -> Result<Self, NoTrack> {
        let (moov, moofs) = scan(source)?;
        let movie: Mvhd = leaf_of(&moov)?.ok_or_else(|| "the moov box has no mvhd box".to_owned())?;
        let trak = video_trak(&moov)?;
        let header: Tkhd = leaf_of(trak)?.ok_or_else(|| "the video track has no tkhd box".to_owned())?;
        let media: Mdhd = leaf(descend(trak, &[b"mdia", b"mdhd"])?)?;
        let stbl = descend(trak, &[b"mdia", b"minf", b"stbl"])?;
        let mut samples = samples::samples(stbl, source.len())?;
        let edits = child(trak, b"edts")?.map(leaf_of::<Elst>).transpose()?.flatten();
        let rates = Timescales { movie: movie.timescale, media: media.timescale };
        let mut shown = shown_samples(&samples, edits.as_ref(), rates);
        if !moofs.is_empty() {
            let mut fragments = Fragments::new(&moov, header.track_id, source.len())?;
            for extent in moofs {
                let moof = source.read(extent.body, extent.end - extent.body)?;
                fragments.add(extent, &moof)?;
            }
            // FFmpeg lets an edit list delay the pictures of fragments and never drops one of them, so neither do we.
            let first = samples.len() as u32;
            let later = shown_samples(&fragments.samples, None, rates);
            let shift = shown.last().map_or(0, |last| last.time - samples[last.sample as usize].cts);
            let moved =
                |frame: Shown| Shown { sample: first + frame.sample, time: frame.time.saturating_add(shift) };
            shown.extend(later.into_iter().map(moved));
            samples.append(&mut fragments.samples);
        }
        Ok(Self {
            container: "mp4",
            descriptions: descriptions(child(stbl, b"stsd")?.unwrap_or_default())?,
            samples,
            shown,
            timescale: media.timescale,
            orientation: Orientation::from_matrices(&header.matrix, &movie.matrix),
        })
    }
}

/// Finds the `moov` box and all fragments.
fn scan(source: &mut Source) -> Result<(Vec<u8>, Vec<boxes::Extent>), String> {
    let mut moov = None;
    let mut moofs = Vec::new();
    let mut at = 0;
    let mut seen = Vec::new();
    while let Some(extent) = box_at(source, at)? {
        match &extent.kind {
            b"moov" if moov.is_none() => moov = Some(source.read(extent.body, extent.end - extent.body)?),
            // A fragment cut off by the end of the file adds no frame to the list.
            b"moof" if extent.end <= source.len() => moofs.push(extent),
            _ => {}
        }
        if seen.len() < 8 {
            seen.push(name(extent.kind));
        }
        at = extent.end;
    }
    match moov {
        Some(moov) if child(&moov, b"cmov")?.is_some() => Err("the moov box is compressed (cmov)".to_owned()),
        Some(moov) => Ok((moov, moofs)),
        None => Err(format!(
            "there is no moov box, which lists the frames (found {}): the file is incomplete",
            if seen.is_empty() { "no box".to_owned() } else { seen.join(", ") }
        )),
    }
}

/// The first track whose handler is `vide`.
fn video_trak(moov: &[u8]) -> Result<&[u8], NoTrack> {
    let mut others = Vec::new();
    for item in children(moov) {
        let (kind, trak) = item?;
        if kind != *b"trak" {
            continue;
        }
        // Version and flags (4 bytes) and a reserved word come before the handler type.
        let handler = descend(trak, &[b"mdia", b"hdlr"]).ok().and_then(|body| body.get(8..)?.first_chunk());
        match handler {
            Some(b"vide") => return Ok(trak),
            Some(other) => others.push(name(*other)),
            None => others.push("a track without a handler".to_owned()),
        }
    }
    Err(NoTrack::NoVideo(others))
}

/// Reads the sample description box.
fn descriptions(stsd: &[u8]) -> Checked<Vec<Description>> {
    // Version and flags, then the number of entries, which are boxes.
    let entries = stsd.get(8..).ok_or_else(|| "the stsd box is too short".to_owned())?;
    let mut found = Vec::new();
    for item in children(entries) {
        let (coding, entry) = item?;
        found.push(description(coding, entry)?);
    }
    if found.is_empty() {
        return Err("the stsd box describes no samples".to_owned());
    }
    Ok(found)
}

/// Reads one visual sample entry (ISO/IEC 14496-12, 12.1.3).
fn description(coding: [u8; 4], entry: &[u8]) -> Checked<Description> {
    /// Fixed fields before the boxes inside a visual sample entry.
    const FIXED: usize = 78;
    let short = || format!("the sample description {} is too short", name(coding));
    let word = |at: usize| {
        entry.get(at..).and_then(|bytes| bytes.first_chunk()).map(|&bytes| u16::from_be_bytes(bytes))
    };
    let size = word(24).zip(word(26)).ok_or_else(short)?;
    let mut result = Description { coding, size, ..Description::default() };
    for item in children(entry.get(FIXED..).ok_or_else(short)?) {
        let (kind, body) = item?;
        match &kind {
            b"avcC" => result.configuration = Configuration::Avc(leaf(body)?),
            b"hvcC" => result.configuration = Configuration::Hevc(leaf(body)?),
            b"colr" => result.colour = colour(body),
            _ => {}
        }
    }
    Ok(result)
}

/// Matrix and range of a `colr` box; other kinds of it (ICC profiles) do not change how YUV becomes RGB.
fn colour(body: &[u8]) -> Option<(u16, Option<bool>)> {
    match leaf::<Colr>(body).ok()? {
        Colr::Nclx { matrix_coefficients, full_range_flag, .. } => {
            Some((matrix_coefficients, Some(full_range_flag)))
        }
        Colr::Nclc { matrix_coefficients, .. } => Some((matrix_coefficients, None)),
        _ => None,
    }
}
