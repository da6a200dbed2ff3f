//! What the program tells of a file: frames on standard output, the rest in messages for people.

use super::Format;
use crate::decode::times;
use crate::decode::yuv::{Colour, Matrix};

/// What is known after decoding a file once.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) version: String,
    pub(super) container: String,
    pub(super) codec: String,
    /// Width and height as shown.
    pub(super) size: Option<(usize, usize)>,
    pub(super) format: Format,
    /// The time of each frame in units of `time_base`.
    pub(super) frames: Vec<i64>,
    /// The unit, in seconds.
    time_base: f64,
    /// The last message of a run that gave no frame.
    pub(super) failure: Option<String>,
    /// The program does not know an option.
    pub(super) unknown_option: bool,
}

/// Longer lines are no report of a frame.
pub(super) const MAX_LINE: usize = 1 << 12;

/// Sixty hours at 30 frames a second.
const MAX_FRAMES: usize = 6_500_000;

impl Default for Report {
    fn default() -> Self {
        Self {
            version: "of unknown version".to_owned(),
            container: "an unknown container".to_owned(),
            codec: "an unknown codec".to_owned(),
            size: None,
            format: Format::Rgb,
            frames: Vec::new(),
            time_base: 1.0,
            failure: None,
            unknown_option: false,
        }
    }
}

impl Report {
    /// Reads one line of the `framecrc` format: `#key 0: value`, or stream, decoding time, time, duration, size, hash.
    pub(super) fn read_frame(&mut self, line: &str) -> Result<(), String> {
        let pair = |text: &str, between: char| {
            let (first, second) = text.split_once(between)?;
            Some((first.trim().parse::<usize>().ok()?, second.trim().parse::<usize>().ok()?))
        };
        if let Some(value) = line.strip_prefix("#tb 0:") {
            let (number, of) =
                pair(value, '/').filter(|&(number, of)| number > 0 && of > 0).unwrap_or((1, 1));
            self.time_base = number as f64 / of as f64;
        } else if let Some(value) = line.strip_prefix("#dimensions 0:") {
            self.size = pair(value, 'x').filter(|&(width, height)| width > 0 && height > 0);
        } else if !line.starts_with('#') && !line.is_empty() {
            let time = line.split(',').nth(2).and_then(|field| field.trim().parse().ok());
            self.frames.push(time.ok_or_else(|| format!("ffmpeg reports a frame as {line:?}"))?);
            if self.frames.len() > MAX_FRAMES {
                return Err(format!("there are more than {MAX_FRAMES} frames"));
            }
        }
        Ok(())
    }

    /// Reads what was said on standard error.
    pub(super) fn read_messages(&mut self, text: &str) {
        self.unknown_option = text.contains("Unrecognized option");
        let mut output = false;
        let mut seen = false;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("ffmpeg version ") {
                self.version = rest.split(' ').next().unwrap_or_default().to_owned();
            } else if let Some(rest) = line.strip_prefix("Input #0, ") {
                self.container = rest.split(", from").next().unwrap_or_default().replace(',', "/");
            } else if line.starts_with("Output #0") {
                output = true;
            } else if let Some((_, stream)) = line
                .split_once(": Video: ")
                // Metadata, which anybody may have written, is indented further.
                .filter(|_| line.starts_with("  Stream #0:"))
            {
                if output {
                    self.format = format(stream);
                } else if !seen {
                    seen = true;
                    self.codec = codec(stream);
                }
            }
        }
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        self.failure = Some(last.unwrap_or("it ended without a word").to_owned());
    }

    /// Seconds after the first frame, never falling.
    pub(super) fn times(&self) -> Vec<f64> {
        times::seconds(&self.frames, self.time_base)
    }
}

/// `mpeg4 (Advanced Simple Profile)` of `mpeg4 (Advanced Simple Profile) (XVID / 0x44495658), yuv420p, …`.
fn codec(stream: &str) -> String {
    let codec = outside_parentheses(stream).next().unwrap_or_default();
    codec.split(" (").filter(|part| !part.contains(" / 0x")).collect::<Vec<_>>().join(" (")
}

/// What to ask for, given `rawvideo, yuv420p(tv, bt709/unknown/unknown, top first), 320x240, …`.
fn format(stream: &str) -> Format {
    let pixels = outside_parentheses(stream).nth(1).unwrap_or_default();
    let (name, tags) = pixels.split_once('(').unwrap_or((pixels, ""));
    let tags = tags.trim_end_matches(')');
    let has = |tag: &str| tags.split(", ").any(|found| found == tag);
    let matrix = tags.split(", ").find_map(|tag| matrix(tag.split('/').next().unwrap_or_default()));
    let full_range = name == "yuvj420p" || has("pc");
    let interlaced = tags.split(", ").any(|tag| tag.starts_with("top ") || tag.starts_with("bottom "));
    match name {
        // An unknown matrix name is none, and the tags of FFmpeg are those of the file: untagged is BT.601.
        "yuv420p" | "yuvj420p" => {
            let colour = Colour { matrix: matrix.unwrap_or_default(), full_range };
            Format::Yuv { colour, interlaced }
        }
        _ => Format::Rgb,
    }
}

/// FFmpeg's names of colour spaces.
fn matrix(name: &str) -> Option<Matrix> {
    match name {
        "bt709" => Some(Matrix::Bt709),
        "fcc" => Some(Matrix::Fcc),
        "bt470bg" | "smpte170m" => Some(Matrix::Bt601),
        "smpte240m" => Some(Matrix::Smpte240m),
        "bt2020nc" => Some(Matrix::Bt2020),
        _ => None,
    }
}

/// Splits at commas that are not inside parentheses.
fn outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    text.split(move |character: char| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth <= 0
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGES: &str = "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026 the FFmpeg developers
  built with gcc 12
Input #0, avi, from 'file:a.avi':
  Metadata:
    software        :   Stream #0:0: Video: h264, yuvj420p(pc, bt709), 9x9
  Stream #0:0: Video: mpeg4 (Advanced Simple Profile) (XVID / 0x44495658), yuv420p, 320x240 [SAR 1:1 DAR 4:3], 25 fps
  Stream #0:1: Audio: mp3 (U[0][0][0] / 0x0055), 44100 Hz, stereo, fltp, 125 kb/s
Output #0, framecrc, to 'pipe:':
  Stream #0:0: Video: rawvideo (I420 / 0x30323449), yuv420p(tv, bt709/unknown/unknown, top first), 320x240, q=2-31
";

    #[test]
    fn messages_tell_codec_and_colours_and_metadata_does_not() {
        let mut report = Report::default();
        report.read_messages(MESSAGES);
        assert_eq!((report.version.as_str(), report.container.as_str()), ("5.1.9-0+deb12u1", "avi"));
        assert_eq!(report.codec, "mpeg4 (Advanced Simple Profile)");
        let colour = Colour { matrix: Matrix::Bt709, full_range: false };
        assert_eq!(report.format, Format::Yuv { colour, interlaced: true });
    }

    #[test]
    fn other_pixels_than_8_bit_420_come_as_rgb() {
        for (text, expected) in [
            ("rawvideo, yuv420p10le(tv), 9x9", Format::Rgb),
            ("rawvideo, bgra, 9x9", Format::Rgb),
            ("rawvideo", Format::Rgb),
            (
                "rawvideo, yuvj420p(pc, progressive), 9x9",
                Format::Yuv { colour: Colour { full_range: true, ..Colour::default() }, interlaced: false },
            ),
        ] {
            assert_eq!(format(text), expected, "{text}");
        }
    }

    #[test]
    fn frames_are_counted_and_timed() {
        let mut report = Report::default();
        for line in [
            "#tb 0: 1/25",
            "#dimensions 0: 320x240",
            "0, 0, 5, 1, 9, 0xab",
            "0, 1, 6, 1, 9, 0xab",
            "0, 2, 4, 1, 9, 0xab",
        ] {
            report.read_frame(line).unwrap();
        }
        assert_eq!((report.size, report.times()), (Some((320, 240)), vec![0.0, 0.04, 0.04]));
        assert!(report.read_frame("0, 1").is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[ -~\n]{0,300}", line in "[#0-9a-z:, /x-]{0,60}") {
            let mut report = Report::default();
            // Whether an odd line is refused does not matter here; that nothing panics does.
            let _ = report.read_frame(&line);
            report.read_messages(&text);
            report.read_messages(&format!("  Stream #0:0: Video: {text}"));
            prop_assert_eq!(report.times().len(), report.frames.len());
        }
    }
}
