//! The sample tables of a track: where every coded picture lies and when it is shown.

use mp4_atom::{Co64, Ctts, Stco, Stsc, Stss, Stsz, StszSamples, Stts};

use super::boxes::{Checked, leaf_of};
use crate::decode::track::Sample;

/// Joins the tables of an `stbl` box into one list.
///
/// `file_len` bounds the list: a coded picture takes at least one byte of the file, so a table that promises more
/// pictures than bytes is damage (or an attempt to exhaust memory), whatever its counts say.
pub(crate) fn samples(stbl: &[u8], file_len: u64) -> Checked<Vec<Sample>> {
    let Some(sizes) = leaf_of::<Stsz>(stbl)? else {
        return Err("the track has no sample size table (stsz)".to_owned());
    };
    let count = match &sizes.samples {
        StszSamples::Identical { count, .. } => u64::from(*count),
        StszSamples::Different { sizes } => sizes.len() as u64,
    };
    if count > file_len {
        return Err(format!("the sample table promises {count} pictures in {file_len} bytes"));
    }
    let mut samples = place(stbl, &sizes, count as usize)?;
    set_times(stbl, &mut samples)?;
    if let Some(table) = leaf_of::<Stss>(stbl)? {
        for number in table.entries {
            if let Some(sample) = (number as usize).checked_sub(1).and_then(|index| samples.get_mut(index)) {
                sample.sync = true;
            }
        }
    } else {
        // Without the table every sample is one that decoding can start from (ISO/IEC 14496-12, 8.6.2).
        samples.iter_mut().for_each(|sample| sample.sync = true);
    }
    Ok(samples)
}

/// Sizes and offsets: chunks of consecutive samples, each chunk at its own offset.
fn place(stbl: &[u8], sizes: &Stsz, count: usize) -> Checked<Vec<Sample>> {
    let offsets: Vec<u64> = if let Some(table) = leaf_of::<Stco>(stbl)? {
        table.entries.into_iter().map(u64::from).collect()
    } else {
        leaf_of::<Co64>(stbl)?.map(|table| table.entries).unwrap_or_default()
    };
    let runs = leaf_of::<Stsc>(stbl)?.map(|table| table.entries).unwrap_or_default();
    let mut samples = Vec::with_capacity(count);
    let mut run = 0;
    for (chunk, &start) in (1u32..).zip(&offsets) {
        while runs.get(run + 1).is_some_and(|next| next.first_chunk <= chunk) {
            run += 1;
        }
        let Some(entry) = runs.get(run) else { break };
        let mut offset = start;
        for _ in 0..entry.samples_per_chunk {
            if samples.len() == count {
                return Ok(samples);
            }
            let size = match &sizes.samples {
                StszSamples::Identical { size, .. } => *size,
                StszSamples::Different { sizes } => sizes[samples.len()],
            };
            let description = entry.sample_description_index;
            samples.push(Sample { offset, size, dts: 0, cts: 0, sync: false, description });
            offset = offset.saturating_add(u64::from(size));
        }
    }
    if samples.len() < count {
        let placed = samples.len();
        return Err(format!("the chunk tables place {placed} of {count} samples"));
    }
    Ok(samples)
}

/// Decoding times are running sums; presentation adds an offset per sample. A table that is too short repeats its
/// last duration, or adds no offset, as FFmpeg does.
fn set_times(stbl: &[u8], samples: &mut [Sample]) -> Checked<()> {
    let durations = leaf_of::<Stts>(stbl)?.map(|table| table.entries).unwrap_or_default();
    let offsets = leaf_of::<Ctts>(stbl)?.map(|table| table.entries).unwrap_or_default();
    let last = durations.last().map_or(0, |entry| entry.sample_delta);
    let mut deltas = repeat(durations.iter().map(|entry| (entry.sample_count, entry.sample_delta)));
    let mut shifts = repeat(offsets.iter().map(|entry| (entry.sample_count, entry.sample_offset)));
    let mut dts = 0i64;
    for sample in samples {
        // Version 0 offsets are unsigned in the standard, but encoders write negative ones and every player reads
        // them so; the cast keeps the low 32 bits.
        let shift = shifts.next().unwrap_or(0) as i32;
        sample.dts = dts;
        sample.cts = dts + i64::from(shift);
        // At most 2^32 samples of 2^32 ticks each: the sum stays in range only by saturating.
        dts = dts.saturating_add(i64::from(deltas.next().unwrap_or(last))).min(i64::MAX / 2);
    }
    Ok(())
}

/// Expands run lengths.
fn repeat<T: Copy>(runs: impl Iterator<Item = (u32, T)>) -> impl Iterator<Item = T> {
    runs.flat_map(|(count, value)| std::iter::repeat_n(value, count as usize))
}
