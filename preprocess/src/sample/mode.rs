//! The names of the rules.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A rule that chooses frames; the formulas stand in the table of [the module](super).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SampleMode {
    /// Spread evenly over the whole video.
    Uniform,
    /// The first frames, a stride apart.
    Pipeline,
    /// A random window, its frames a stride apart.
    Guide,
    /// A random window, which a short video cuts short by repeating its last frames.
    Pretrain,
    /// Windows of neighbouring frames, as for Kinetics.
    Dense(Split),
    /// Spread over the whole video, as for Something-Something.
    Sparse(Split),
    /// These places.
    Indices(Vec<usize>),
    /// The frames shown at these times, in seconds after the first frame.
    Seconds(Vec<f64>),
}

/// Which of the official rules of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Drawn at random.
    Train,
    /// Drawn as in training.
    Validation,
    /// K clips at fixed places.
    Test,
}

impl SampleMode {
    /// The names of the modes that take no list.
    pub const NAMES: [&str; 12] = [
        "uniform",
        "pipeline",
        "guide",
        "pretrain",
        "dense",
        "dense-train",
        "dense-validation",
        "dense-test",
        "sparse",
        "sparse-train",
        "sparse-validation",
        "sparse-test",
    ];

    /// The stride that the source of the rule uses; `None` for a rule without one.
    pub fn default_stride(&self) -> Option<usize> {
        match self {
            Self::Pipeline | Self::Guide => Some(1),
            // 4 is for Kinetics in every official script.
            Self::Pretrain | Self::Dense(_) => Some(4),
            Self::Uniform | Self::Sparse(_) | Self::Indices(_) | Self::Seconds(_) => None,
        }
    }

    /// Whether frames are drawn at random.
    pub fn is_random(&self) -> bool {
        match self {
            Self::Guide | Self::Pretrain => true,
            Self::Dense(split) | Self::Sparse(split) => *split != Split::Test,
            Self::Uniform | Self::Pipeline | Self::Indices(_) | Self::Seconds(_) => false,
        }
    }

    /// Whether the rule has more than one clip to give.
    pub fn has_clips(&self) -> bool {
        self.is_random() || matches!(self, Self::Dense(_) | Self::Sparse(_))
    }

    /// The number of frames of a clip, for the rules that name them one by one.
    pub fn len_of_list(&self) -> Option<usize> {
        match self {
            Self::Indices(list) => Some(list.len()),
            Self::Seconds(list) => Some(list.len()),
            _ => None,
        }
    }
}

impl FromStr for SampleMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Sampling {
            expected: format!("one of {}, indices:3,7,… or seconds:0.5,1,…", Self::NAMES.join(", ")),
            found: format!("{text:?}"),
        };
        Ok(match text {
            "uniform" => Self::Uniform,
            "pipeline" => Self::Pipeline,
            "guide" => Self::Guide,
            "pretrain" => Self::Pretrain,
            "dense-train" => Self::Dense(Split::Train),
            "dense-validation" => Self::Dense(Split::Validation),
            "dense" | "dense-test" => Self::Dense(Split::Test),
            "sparse-train" => Self::Sparse(Split::Train),
            "sparse-validation" => Self::Sparse(Split::Validation),
            "sparse" | "sparse-test" => Self::Sparse(Split::Test),
            _ => match text.split_once(':') {
                Some(("indices", list)) => Self::Indices(parse_list(list, "a frame number from 0")?),
                Some(("seconds", list)) => Self::Seconds(parse_times(list)?),
                _ => return Err(unknown()),
            },
        })
    }
}

fn parse_list<T: FromStr>(list: &str, expected: &str) -> Result<Vec<T>> {
    let number = |item: &str| {
        item.trim().parse().map_err(|_| Error::Sampling {
            expected: format!("{expected} between commas"),
            found: format!("{item:?}"),
        })
    };
    list.split(',').map(number).collect()
}

fn parse_times(list: &str) -> Result<Vec<f64>> {
    let expected = "seconds from 0";
    let times: Vec<f64> = parse_list(list, expected)?;
    match times.iter().find(|time| !(time.is_finite() && **time >= 0.0)) {
        Some(time) => Err(Error::Sampling {
            expected: format!("{expected} between commas"),
            found: format!("\"{time}\""),
        }),
        None => Ok(times),
    }
}

impl fmt::Display for SampleMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let split = |split: &Split| match split {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        };
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Pipeline => f.write_str("pipeline"),
            Self::Guide => f.write_str("guide"),
            Self::Pretrain => f.write_str("pretrain"),
            Self::Dense(which) => write!(f, "dense-{}", split(which)),
            Self::Sparse(which) => write!(f, "sparse-{}", split(which)),
            Self::Indices(list) => write!(f, "indices:{}", join(list)),
            Self::Seconds(list) => write!(f, "seconds:{}", join(list)),
        }
    }
}

fn join(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in SampleMode::NAMES.into_iter().chain(["indices:3,7,7", "seconds:0.5,1"]) {
            let mode: SampleMode = name.parse().unwrap();
            let again: SampleMode = mode.to_string().parse().unwrap();
            assert_eq!(again, mode);
            assert!(mode.to_string().starts_with(name));
        }
    }

    #[test]
    fn other_names_and_lists_are_refused() {
        for (text, found) in [
            ("evenly", "found \"evenly\""),
            ("", "found \"\""),
            ("indices:", "a frame number from 0 between commas, found \"\""),
            ("indices:1,-2", "found \"-2\""),
            ("seconds:1,NaN", "seconds from 0 between commas, found \"NaN\""),
            ("seconds:-1", "found \"-1\""),
            ("uniform:3", "found \"uniform:3\""),
        ] {
            let error = text.parse::<SampleMode>().unwrap_err().to_string();
            assert!(error.ends_with(found), "{error}");
        }
    }
}
