//! The video track of a file, whatever the container: its coded pictures and which of them are shown.

use mp4_atom::{Avcc, Hvcc};

use super::mp4::Checked;
use super::orientation::Orientation;

/// The video track of a file.
#[derive(Debug)]
pub(crate) struct Track {
    /// The kind of file.
    pub(crate) container: &'static str,
    /// How samples are coded: at least one.
    pub(crate) descriptions: Vec<Description>,
    /// All coded pictures, in decoding order.
    pub(crate) samples: Vec<Sample>,
    /// The frames, in the order they are shown.
    pub(crate) shown: Vec<Shown>,
    /// Ticks a second of the sample times.
    pub(crate) timescale: u32,
    /// How the picture is turned for display; `None` when it is not a multiple of 90 degrees.
    pub(crate) orientation: Option<Orientation>,
}

/// One coded picture, in decoding order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Where its bytes start in the file.
    pub(crate) offset: u64,
    /// How many they are.
    pub(crate) size: u32,
    /// When it is decoded, in units of the track's timescale.
    pub(crate) dts: i64,
    /// When it is shown, in the same units.
    pub(crate) cts: i64,
    /// The container says that decoding can start here.
    pub(crate) sync: bool,
    /// Which sample description applies, from 1.
    pub(crate) description: u32,
}

/// One frame of the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Which coded picture it is, in decoding order.
    pub(crate) sample: u32,
    /// When it is shown, in units of the track's timescale.
    pub(crate) time: i64,
}

/// How the samples that refer to it were coded.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// The four-character code of the coding, as in MP4.
    pub(crate) coding: [u8; 4],
    /// Width and height by the container.
    pub(crate) size: (u16, u16),
    /// What a decoder has to know before the first sample.
    pub(crate) configuration: Configuration,
    /// Colour matrix (ISO/IEC 23091-2 code) and whether the range is full.
    pub(crate) colour: Option<(u16, Option<bool>)>,
}

/// Parameter sets and the size of the NAL unit lengths, for the codecs that have them.
#[derive(Debug, Default)]
pub(crate) enum Configuration {
    #[default]
    None,
    Avc(Avcc),
    Hevc(Hvcc),
}

/// Why a file gave no track.
#[derive(Debug)]
pub(crate) enum NoTrack {
    /// Something in the file is wrong.
    Damaged(String),
    /// The file is sound but the kind of its video is not known here.
    Unsupported(String),
    /// The file is sound but has no video; the kinds of tracks it has.
    NoVideo(Vec<String>),
}

impl From<String> for NoTrack {
    fn from(detail: String) -> Self {
        Self::Damaged(detail)
    }
}

impl Track {
    /// The description of sample `index`, once [`Track::check`] has seen that every sample has one.
    pub(crate) fn description(&self, index: usize) -> &Description {
        &self.descriptions[self.samples[index].description as usize - 1]
    }

    /// When each frame is shown, in seconds after the first.
    pub(crate) fn times(&self) -> Vec<f64> {
        let first = self.shown.first().map_or(0, |frame| frame.time);
        let seconds =
            |frame: &Shown| frame.time.saturating_sub(first) as f64 / f64::from(self.timescale.max(1));
        self.shown.iter().map(seconds).collect()
    }

    /// Refuses samples that refer to no description, and tables whose samples overlap.
    pub(crate) fn check(&self, file_len: u64) -> Checked<()> {
        let mut total = 0u64;
        for (index, sample) in self.samples.iter().enumerate() {
            let number = sample.description;
            if !(1..=self.descriptions.len()).contains(&(number as usize)) {
                return Err(format!("sample {index} has description {number}, there is none"));
            }
            // Samples past the end of a truncated file cost nothing; those inside it must not be the same bytes
            // again and again, or a small file could ask for any amount of work.
            if sample.offset.saturating_add(u64::from(sample.size)) <= file_len {
                total += u64::from(sample.size);
            }
        }
        if total > file_len {
            return Err(format!("the samples overlap: {total} bytes in a file of {file_len}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(offsets: &[u64], size: u32, description: u32) -> Track {
        let sample = |&offset| Sample { offset, size, dts: 0, cts: 0, sync: true, description };
        Track {
            container: "mp4",
            descriptions: vec![Description::default()],
            samples: offsets.iter().map(sample).collect(),
            shown: Vec::new(),
            timescale: 1,
            orientation: None,
        }
    }

    #[test]
    fn samples_that_share_bytes_are_refused() {
        assert_eq!(track(&[0, 60], 60, 1).check(120), Ok(()));
        let shared = track(&[0, 10, 20], 60, 1).check(120);
        assert_eq!(shared, Err("the samples overlap: 180 bytes in a file of 120".to_owned()));
        // Beyond the end they are a truncated file, which is another matter.
        assert_eq!(track(&[0, 60, 120], 60, 1).check(120), Ok(()));
    }

    #[test]
    fn a_sample_without_a_description_is_refused() {
        for number in [0, 2] {
            let found = track(&[0], 1, number).check(10);
            assert_eq!(found, Err(format!("sample 0 has description {number}, there is none")));
        }
    }
}
