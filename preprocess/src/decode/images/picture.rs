//! One picture: its size without decoding it, and its pixels.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use image_webp::WebPDecoder;
use jpeg_decoder::PixelFormat;

use crate::decode::yuv::RgbFrame;
use crate::decode::{Limits, Orientation, VideoOptions, sniff};
use crate::{Error, Result};

/// How a picture is coded, told by its first bytes and not by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Jpeg,
    Png,
    WebP,
}

impl Codec {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some(Self::WebP),
            _ => None,
        }
    }
}

/// What is known of a picture without decoding it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) codec: Codec,
    /// Width and height as coded.
    size: (usize, usize),
    /// How it is turned for display, by its EXIF data.
    orientation: Orientation,
}

impl Header {
    /// Width and height as shown.
    pub(super) fn shown(&self, autorotate: bool) -> (usize, usize) {
        if autorotate { self.orientation.turned(self.size) } else { self.size }
    }
}

/// Reads the header of a file.
pub(super) fn header(path: &Path, limits: &Limits) -> Result<Header> {
    let opened = Opened::new(path)?;
    opened.check(path, limits)?;
    Ok(opened.header())
}

/// Reads a file to RGB, turned as its EXIF data says if that is wanted.
pub(super) fn decode(path: &Path, options: &VideoOptions) -> Result<RgbFrame> {
    let opened = Opened::new(path)?;
    opened.check(path, &options.limits)?;
    let header = opened.header();
    let (width, height) = header.size;
    let data = opened.pixels().map_err(|detail| damaged(path, header.codec, detail))?;
    if !options.autorotate || header.orientation == Orientation::UPRIGHT {
        return Ok(RgbFrame { width, height, data });
    }
    let mut turned = vec![0; data.len()];
    header.orientation.apply(&data, header.size, &mut turned);
    let (width, height) = header.shown(true);
    Ok(RgbFrame { width, height, data: turned })
}

/// A picture whose header was read.
struct Opened {
    header: Header,
    decoder: AnyDecoder,
}

/// The decoder of a picture, ready for its pixels.
enum AnyDecoder {
    Jpeg(Box<jpeg_decoder::Decoder<BufReader<File>>>),
    Png(Box<png::Reader<BufReader<File>>>),
    WebP(Box<WebPDecoder<BufReader<File>>>),
}

impl Opened {
    fn new(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(sniff::open_file(path).map_err(io)?);
        let mut start = Vec::new();
        file.by_ref().take(12).read_to_end(&mut start).map_err(io)?;
        file.rewind().map_err(io)?;
        let Some(codec) = Codec::of(&start) else {
            let found = format!("a picture that starts with \"{}\"", start.escape_ascii());
            return Err(Error::NotAVideo { path: path.to_owned(), found });
        };
        let opened = match codec {
            Codec::Jpeg => open_jpeg(file),
            Codec::Png => open_png(file),
            Codec::WebP => open_webp(file),
        };
        let (size, exif, decoder) = opened.map_err(|cause| match cause {
            Refusal::Damaged(detail) => damaged(path, codec, detail),
            Refusal::Unsupported(what) => Error::UnsupportedVideo {
                path: path.to_owned(),
                what: format!("{} {what}", codec.name()),
                fix: "convert it to PNG".to_owned(),
            },
        })?;
        let orientation = exif.map_or(Orientation::UPRIGHT, orientation);
        Ok(Self { header: Header { codec, size, orientation }, decoder })
    }

    fn header(&self) -> Header {
        self.header
    }

    fn check(&self, path: &Path, limits: &Limits) -> Result<()> {
        limits.check_picture(path, self.header.size.0, self.header.size.1)
    }

    /// All pixels, `(height, width, 3)`.
    fn pixels(self) -> std::result::Result<Vec<u8>, String> {
        let (width, height) = self.header.size;
        let pixels = match self.decoder {
            AnyDecoder::Jpeg(mut decoder) => decoder.decode().map_err(|error| error.to_string())?,
            AnyDecoder::Png(mut reader) => {
                let size = reader.output_buffer_size().ok_or("the picture does not fit in memory")?;
                let mut pixels = vec![0; size];
                let output = reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
                pixels.truncate(output.buffer_size());
                // What follows the pixels has checksums too.
                reader.finish().map_err(|error| error.to_string())?;
                pixels
            }
            AnyDecoder::WebP(mut decoder) => {
                let size = decoder.output_buffer_size().ok_or("the picture does not fit in memory")?;
                let mut pixels = vec![0; size];
                decoder.read_image(&mut pixels).map_err(|error| error.to_string())?;
                pixels
            }
        };
        to_rgb(pixels, width * height)
    }
}

/// Why a picture cannot be read.
enum Refusal {
    Damaged(String),
    Unsupported(String),
}

/// Size, EXIF data and decoder.
type Parts = std::result::Result<((usize, usize), Option<Vec<u8>>, AnyDecoder), Refusal>;

fn open_jpeg(file: BufReader<File>) -> Parts {
    let mut decoder = jpeg_decoder::Decoder::new(file);
    decoder.read_info().map_err(|error| match error {
        jpeg_decoder::Error::Unsupported(_) => Refusal::Unsupported(error.to_string()),
        other => Refusal::Damaged(other.to_string()),
    })?;
    let info = decoder.info().ok_or_else(|| Refusal::Damaged("there is no frame header".to_owned()))?;
    match info.pixel_format {
        PixelFormat::L8 | PixelFormat::RGB24 => {}
        PixelFormat::L16 => return Err(Refusal::Unsupported("with 16 bits a sample".to_owned())),
        PixelFormat::CMYK32 => return Err(Refusal::Unsupported("for print, with four inks".to_owned())),
    }
    let exif = decoder.exif_data().map(<[u8]>::to_vec);
    Ok(((info.width.into(), info.height.into()), exif, AnyDecoder::Jpeg(Box::new(decoder))))
}

fn open_png(file: BufReader<File>) -> Parts {
    let mut decoder = png::Decoder::new(file);
    // Palettes and fewer bits become 8 bits a channel; of 16 the upper 8 are kept.
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let reader = decoder.read_info().map_err(|error| Refusal::Damaged(error.to_string()))?;
    let info = reader.info();
    let exif = info.exif_metadata.as_ref().map(|bytes| bytes.to_vec());
    Ok(((info.width as usize, info.height as usize), exif, AnyDecoder::Png(Box::new(reader))))
}

fn open_webp(file: BufReader<File>) -> Parts {
    let damaged = |error: image_webp::DecodingError| Refusal::Damaged(error.to_string());
    let mut decoder = WebPDecoder::new(file).map_err(damaged)?;
    if decoder.is_animated() {
        return Err(Refusal::Unsupported("with an animation".to_owned()));
    }
    let exif = decoder.exif_metadata().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    Ok(((width as usize, height as usize), exif, AnyDecoder::WebP(Box::new(decoder))))
}

/// Drops an alpha channel and repeats a grey one, by how many bytes there are for each pixel.
fn to_rgb(pixels: Vec<u8>, count: usize) -> std::result::Result<Vec<u8>, String> {
    match pixels.len().checked_div(count) {
        Some(1) => Ok(pixels.iter().flat_map(|&grey| [grey; 3]).collect()),
        Some(2) => Ok(pixels.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect()),
        Some(3) => Ok(pixels),
        Some(4) => Ok(pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()),
        _ => Err(format!("{} bytes for {count} pixels", pixels.len())),
    }
}

/// The orientation in EXIF data; a picture without one, or with one that cannot be read, is upright, as in every
/// other program.
fn orientation(exif: Vec<u8>) -> Orientation {
    let turn = |transpose, mirror_x, mirror_y| Orientation { transpose, mirror_x, mirror_y };
    let exif = exif::Reader::new().read_raw(exif).ok();
    let field = exif.as_ref().and_then(|exif| exif.get_field(exif::Tag::Orientation, exif::In::PRIMARY));
    match field.and_then(|field| field.value.get_uint(0)) {
        Some(2) => turn(false, true, false),
        Some(3) => turn(false, true, true),
        Some(4) => turn(false, false, true),
        Some(5) => turn(true, false, false),
        Some(6) => turn(true, true, false),
        Some(7) => turn(true, true, true),
        Some(8) => turn(true, false, true),
        _ => Orientation::UPRIGHT,
    }
}

fn damaged(path: &Path, codec: Codec, detail: String) -> Error {
    Error::DamagedVideo { path: path.to_owned(), container: codec.name(), detail }
}
