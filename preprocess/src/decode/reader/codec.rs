//! What a reader has to know of a codec.

use crate::decode::mp4::Checked;
use crate::decode::track::Description;
use crate::decode::yuv::{Colour, Picture};

/// A codec: how its coded pictures depend on each other, and what decodes them.
pub(crate) trait Codec: Send + Sized + 'static {
    /// For people.
    const NAME: &'static str;

    /// The sample entries of MP4 that mean this codec.
    const CODINGS: &'static [&'static [u8; 4]];

    /// A sample may hold no picture that is shown, so that all of them have to be looked into to count frames.
    const MAY_HIDE: bool;

    /// Refuses a description that lacks what a decoder has to know.
    fn check(description: &Description) -> Checked<()>;

    /// Looks into a sample as far as is needed to know its place among the others.
    fn role(description: &Description, sample: &[u8]) -> Result<Role, Refusal>;

    /// Reads what all pictures have in common out of the first that can be decoded.
    fn open(description: &Description, sample: &[u8]) -> Result<(Self, Header), Refusal>;

    /// The decoders, by name, in the order in which they are tried, each in its initial state.
    fn decoders(&self) -> Vec<(&'static str, Box<dyn SampleDecoder>)>;
}

/// The place of a sample among the others of its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// Whether decoding can start here.
    pub(crate) entry: Entry,
    /// It holds nothing but a picture to which no other one of its layer or a lower layer refers.
    pub(crate) disposable: bool,
    /// The temporal layer: no picture refers to one of a higher layer. 0 without layers.
    pub(crate) layer: u8,
    /// When it is shown before an open entry that precedes it in the file, it may refer to what precedes that entry.
    pub(crate) leading: bool,
    /// It holds a picture that is shown.
    pub(crate) shown: bool,
}

/// Whether decoding can start at a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It cannot.
    No,
    /// Only if there is nothing better: whoever marks such pictures does not always keep the promise.
    Doubtful,
    /// It can, if leading pictures that are shown before it are left out.
    Open,
    /// It can: nothing after it refers to anything before it.
    Clean,
}

/// What all pictures of a track have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The codec and its profile.
    pub(crate) codec: String,
    /// Size after the cropping that the stream asks for.
    pub(crate) decoded: (usize, usize),
    /// Size after the cropping that the container asks for.
    pub(crate) shown: (usize, usize),
    pub(crate) colour: Colour,
    /// The highest temporal layer there can be.
    pub(crate) top_layer: u8,
}

/// Why a track cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Something in it is wrong.
    Damaged(String),
    /// It is sound but of a kind that is not known here; the codec and its profile, and what it is.
    Unsupported(String),
}

impl From<String> for Refusal {
    fn from(detail: String) -> Self {
        Self::Damaged(detail)
    }
}

/// One sample for a decoder.
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) description: &'a Description,
    /// The sample before had another description, or there was none.
    pub(crate) new_description: bool,
    /// The sample does not follow the one that was decoded before: decoding starts here.
    pub(crate) starts: bool,
}

/// Decodes samples: given one at a time, in decoding order, it answers with its picture at once, so that no reordering
/// is needed: the container knows when each picture is shown.
pub(crate) trait SampleDecoder: Send {
    /// Decodes one sample; `None` when it holds no complete picture that is shown.
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<Picture>, Failure>;
}

/// Why a sample gave no picture.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The stream uses something the decoder does not know.
    Unsupported(String),
    /// The stream is damaged.
    Damaged(String),
}
