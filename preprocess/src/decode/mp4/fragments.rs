//! Fragmented files: samples listed in `moof` boxes beside the data instead of in `moov`.

use mp4_atom::{Tfdt, Tfhd, Trex, Trun};

use super::boxes::{Checked, Extent, child, children, leaf, leaf_of};
use crate::decode::track::Sample;

/// Collects the samples of one track over all fragments.
#[derive(Debug)]
pub(crate) struct Fragments {
    track_id: u32,
    defaults: Trex,
    /// Where the next fragment starts in time when it does not say.
    next_dts: i64,
    /// As for the tables of `moov`: more samples than bytes is damage.
    max_samples: u64,
    pub(crate) samples: Vec<Sample>,
}

/// What the header of one track's part of a fragment settles for its runs.
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
    description: u32,
}

/// `sample_is_non_sync_sample` and "depends on others" in the flags of ISO/IEC 14496-12, 8.8.3.1; either one says
/// that decoding cannot start there.
const NOT_SYNC: u32 = 0x0001_0000 | 0x0100_0000;

impl Fragments {
    /// Prepares for the fragments of track `track_id` of this `moov`.
    pub(crate) fn new(moov: &[u8], track_id: u32, file_len: u64) -> Checked<Self> {
        let mut defaults = Trex::default();
        if let Some(mvex) = child(moov, b"mvex")? {
            for item in children(mvex) {
                let (kind, body) = item?;
                if kind == *b"trex" {
                    let found: Trex = leaf(body)?;
                    if found.track_id == track_id {
                        defaults = found;
                    }
                }
            }
        }
        Ok(Self { track_id, defaults, next_dts: 0, max_samples: file_len, samples: Vec::new() })
    }

    /// Adds what one `moof` holds for the track.
    pub(crate) fn add(&mut self, extent: Extent, moof: &[u8]) -> Checked<()> {
        // Where the data of a part starts when it does not say: at the fragment for the first part, after the data
        // of the part before for the others.
        let mut implicit_base = extent.start;
        for item in children(moof) {
            let (kind, traf) = item?;
            if kind != *b"traf" {
                continue;
            }
            let Some(header) = leaf_of::<Tfhd>(traf)? else {
                return Err("a fragment has no tfhd box".to_owned());
            };
            let base = match header.base_data_offset {
                Some(base) => base,
                None if header.default_base_is_moof => extent.start,
                None => implicit_base,
            };
            implicit_base = self.add_part(&header, base, traf)?;
        }
        Ok(())
    }

    /// Adds the runs of one `traf`, if it is ours, and returns where its data ends.
    fn add_part(&mut self, header: &Tfhd, base: u64, traf: &[u8]) -> Checked<u64> {
        let ours = header.track_id == self.track_id;
        if let Some(time) = leaf_of::<Tfdt>(traf)?.filter(|_| ours) {
            self.next_dts =
                i64::try_from(time.base_media_decode_time).unwrap_or(i64::MAX / 2).min(i64::MAX / 2);
        }
        let trex = &self.defaults;
        let defaults = Defaults {
            duration: header.default_sample_duration.unwrap_or(trex.default_sample_duration),
            size: header.default_sample_size.unwrap_or(trex.default_sample_size),
            flags: header.default_sample_flags.unwrap_or(trex.default_sample_flags),
            description: header.sample_description_index.unwrap_or(trex.default_sample_description_index),
        };
        let mut end = base;
        for item in children(traf) {
            let (kind, body) = item?;
            if kind == *b"trun" {
                end = self.add_run(&leaf(body)?, base, end, &defaults, ours)?;
            }
        }
        Ok(end)
    }

    /// Adds one run and returns where its data ends.
    fn add_run(
        &mut self,
        run: &Trun,
        base: u64,
        after: u64,
        defaults: &Defaults,
        ours: bool,
    ) -> Checked<u64> {
        let count = run.samples.len() as u64;
        if self.samples.len() as u64 + count > self.max_samples {
            return Err(format!(
                "a fragment promises {count} pictures in a file of {} bytes",
                self.max_samples
            ));
        }
        let mut offset = match run.data_offset {
            Some(shift) => base.saturating_add_signed(i64::from(shift)),
            None => after,
        };
        for entry in run.samples.iter() {
            let size = entry.size.unwrap_or(defaults.size);
            if ours {
                // As in the tables of `moov`, an offset is signed in practice whatever its version says.
                let shift = entry.cts.unwrap_or(0) as i32;
                self.samples.push(Sample {
                    offset,
                    size,
                    dts: self.next_dts,
                    cts: self.next_dts + i64::from(shift),
                    sync: entry.flags.unwrap_or(defaults.flags) & NOT_SYNC == 0,
                    description: defaults.description,
                });
                let duration = i64::from(entry.duration.unwrap_or(defaults.duration));
                self.next_dts = self.next_dts.saturating_add(duration).min(i64::MAX / 2);
            }
            offset = offset.saturating_add(u64::from(size));
        }
        Ok(offset)
    }
}
