//! One of FFmpeg's decoders.

use ffmpeg_next::codec::{Context, Id, Parameters, packet::Packet};
use ffmpeg_next::util::error::EAGAIN;
use ffmpeg_next::{Dictionary, Error, decoder, frame};

/// A decoder: packets go in, and pictures come out some packets later.
pub(super) struct Decoder {
    decoder: decoder::Video,
    frame: frame::Video,
}

/// How to decode.
#[derive(Clone, Copy)]
pub(super) struct DecoderOptions {
    /// Larger pictures are refused before memory is set aside for them.
    pub(super) max_pixels: usize,
    /// Fail at what a damaged stream leaves out, instead of making something up.
    pub(super) strict: bool,
}

impl Decoder {
    /// A decoder of samples whose place in the stream is known.
    pub(super) fn new(id: Id, options: DecoderOptions) -> Result<Self, String> {
        // Nothing is asked for that cannot be decoded; FFmpeg would keep back what follows a key picture without a
        // recovery point.
        Self::open(Context::new(), id, options, "+unaligned+output_corrupt")
    }

    /// A decoder of a stream in a container.
    pub(super) fn of_stream(parameters: Parameters, options: DecoderOptions) -> Result<Self, String> {
        let id = parameters.id();
        let context = Context::from_parameters(parameters).map_err(super::text)?;
        Self::open(context, id, options, "+unaligned")
    }

    /// With `flags` cropping at the left is not rounded to a multiple of a vector.
    fn open(context: Context, id: Id, options: DecoderOptions, flags: &str) -> Result<Self, String> {
        let codec =
            decoder::find(id).ok_or_else(|| format!("this FFmpeg has no decoder of {}", id.name()))?;
        let max_pixels = options.max_pixels.to_string();
        let mut settings = Dictionary::new();
        // Two threads take up to 40 % more time of the processor for the same pictures; who trains decodes many videos
        // at a time.
        settings.set("threads", "1");
        settings.set("max_pixels", &max_pixels);
        settings.set("flags", flags);
        if options.strict {
            settings.set("err_detect", "explode");
        }
        if id == Id::H264 {
            // A stream that does not say how far its pictures are reordered is taken to do so as far as is allowed,
            // and not to be in order until the opposite is seen, at which pictures are lost.
            settings.set("strict", "strict");
        }
        let opened = context.decoder().open_as_with(codec, settings);
        let decoder = opened.and_then(decoder::Opened::video).map_err(|error| {
            format!("{} with up to {max_pixels} pixels a picture: {}", id.name(), super::text(error))
        })?;
        Ok(Self { decoder, frame: frame::Video::empty() })
    }

    /// Width and height, as far as is known before the first picture.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.decoder.width() as usize, self.decoder.height() as usize)
    }

    /// Decodes a packet, after which [`Decoder::advance`] must be asked until there is nothing more.
    pub(super) fn send(&mut self, packet: &Packet) -> Result<(), Error> {
        self.decoder.send_packet(packet)
    }

    /// Says that no packet will follow, so that what is kept comes out.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.decoder.send_eof()
    }

    /// Takes the next picture, if there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Error> {
        match self.decoder.receive_frame(&mut self.frame) {
            Ok(()) => Ok(true),
            Err(Error::Eof | Error::Other { errno: EAGAIN }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The picture that was taken last.
    pub(super) fn frame(&self) -> &frame::Video {
        &self.frame
    }

    /// Forgets all pictures: the next packet comes from elsewhere.
    pub(super) fn restart(&mut self) {
        self.decoder.flush();
    }
}
