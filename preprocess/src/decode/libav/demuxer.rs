//! A file that FFmpeg finds the packets of, and its decoder.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next::codec::packet::Packet;
use ffmpeg_next::codec::packet::side_data::Type as SideData;
use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::{Dictionary, Error, Rational, format, frame, media};
use mp4_atom::Matrix as DisplayMatrix;

use super::decoder::{Decoder, DecoderOptions};
use super::text;
use crate::decode::ffmpeg::program::DEMUXERS;
use crate::decode::orientation::Orientation;

/// The frames of the first video stream, in the order in which they are shown.
pub(super) struct Demuxer {
    input: Input,
    stream: usize,
    decoder: Decoder,
    /// All packets were decoded.
    ended: bool,
    /// A frame came out: what comes before the first cannot be decoded, in a stream that was cut.
    begun: bool,
    /// The first thing that was wrong with the file since then and was passed over.
    damage: Option<String>,
}

/// What a file says before it is decoded.
#[derive(Debug)]
pub(super) struct Heading {
    pub(super) container: String,
    pub(super) codec: String,
    /// Width and height as coded.
    pub(super) size: (usize, usize),
    /// How pictures are turned; `None` when that is not by a multiple of 90 degrees.
    pub(super) orientation: Option<Orientation>,
    /// The unit of times, in seconds.
    pub(super) time_base: f64,
}

impl Demuxer {
    /// Opens a file; reading ends with an error once `given_up` is set.
    pub(super) fn open(
        file: File,
        options: DecoderOptions,
        given_up: Arc<AtomicBool>,
    ) -> Result<(Self, Heading), String> {
        let mut settings = Dictionary::new();
        // The file is given as a stream of bytes, so that no other can be opened: a playlist could name any.
        settings.set("protocol_whitelist", "none");
        settings.set("format_whitelist", DEMUXERS);
        let stream = StreamIo::from_read_seek(file).map_err(text)?;
        let stop = move || given_up.load(Ordering::Relaxed);
        let input =
            format::input_from_stream_with_interrupt(stream, None, Some(settings), stop).map_err(text)?;
        let container = input.format().name().replace(',', "/");
        let is_video = |stream: &format::stream::Stream<'_>| {
            stream.parameters().medium() == media::Type::Video
                && !stream.disposition().contains(Disposition::ATTACHED_PIC)
        };
        let video = input.streams().find(is_video).ok_or("it has no video stream")?;
        let parameters = video.parameters();
        let codec = parameters.id().name().to_owned();
        let (index, Rational(over, under)) = (video.index(), video.time_base());
        let orientation = orientation(&video);
        let decoder = Decoder::of_stream(parameters, options)?;
        let time_base = f64::from(over) / f64::from(under.max(1));
        let heading = Heading { container, codec, size: decoder.size(), orientation, time_base };
        Ok((Self { input, stream: index, decoder, ended: false, begun: false, damage: None }, heading))
    }

    /// Takes the next frame, if there is one. Damage is passed over, as players do, and kept in mind.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn advance(&mut self) -> Result<bool, String> {
        loop {
            match self.decoder.advance() {
                Ok(true) => {
                    self.begun = true;
                    if self.frame().has_decode_errors() {
                        self.note("parts of a picture are damaged".to_owned());
                    }
                    return Ok(true);
                }
                Ok(false) if self.ended => return Ok(false),
                Ok(false) => self.decode_packet()?,
                Err(error) => self.pass_over(error)?,
            }
        }
    }

    /// The frame that was taken last.
    pub(super) fn frame(&self) -> &frame::Video {
        self.decoder.frame()
    }

    /// The first thing that was wrong with the file so far, from its first frame on.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Gives the decoder the next packet, or the end of the stream.
    fn decode_packet(&mut self) -> Result<(), String> {
        let mut packet = Packet::empty();
        match packet.read(&mut self.input) {
            Ok(()) if packet.stream() != self.stream => return Ok(()),
            Ok(()) => {}
            Err(Error::Eof) => {
                self.ended = true;
                return self.decoder.end().map_err(text);
            }
            Err(error) => return Err(text(error)),
        }
        if packet.is_corrupt() {
            self.note("the file ends in the middle of a picture".to_owned());
        }
        self.decoder.send(&packet).or_else(|error| self.pass_over(error))
    }

    /// Goes on after damage, and with no other error.
    fn pass_over(&mut self, error: Error) -> Result<(), String> {
        if error != Error::InvalidData {
            return Err(text(error));
        }
        self.note(text(error));
        Ok(())
    }

    fn note(&mut self, damage: String) {
        if self.begun {
            self.damage.get_or_insert(damage);
        }
    }
}

/// How pictures are turned, by the matrix beside the stream; `None` for an angle that is no multiple of 90 degrees.
fn orientation(video: &format::stream::Stream<'_>) -> Option<Orientation> {
    let Some(matrix) = video.side_data().find(|data| data.kind() == SideData::DisplayMatrix) else {
        return Some(Orientation::UPRIGHT);
    };
    // a b u, c d v, x y w as in MP4, which the demuxers of other containers imitate.
    let words: Vec<i32> =
        matrix.data().as_chunks().0.iter().map(|&bytes| i32::from_ne_bytes(bytes)).collect();
    let &[a, b, _, c, d, ..] = words.as_slice() else { return Some(Orientation::UPRIGHT) };
    let upright = DisplayMatrix { a: 1 << 16, d: 1 << 16, ..DisplayMatrix::default() };
    Orientation::from_matrices(&DisplayMatrix { a, b, c, d, ..DisplayMatrix::default() }, &upright)
}
