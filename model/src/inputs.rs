//! What a model is given, and everything that can be wrong with it.

use kernels_backend::{PatchGeometry, Shape, View};

use crate::{Error, Result, VideoMAEConfig};

/// One batch of clips.
///
/// ```
/// use videomae::VideoInputs;
///
/// let pixel_values = vec![0.0; 2 * 4 * 3 * 16 * 16];
/// let inputs = VideoInputs::new(&pixel_values, [2, 4, 3, 16, 16]);
/// let inputs = VideoInputs { output_hidden_states: Some(true), ..inputs };
/// # assert!(inputs.labels.is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct VideoInputs<'a> {
    /// `(B, T, C, H, W)`, row-major.
    pub pixels: Pixels<'a>,
    /// `[B, T, C, H, W]`. T, H and W may be any multiples of the tubelet and patch sizes, whatever the
    /// configuration's `num_frames` and `image_size` say: no weight depends on them, and positions are computed
    /// for the video at hand. (The reference refuses other heights and widths, and drops frames or edges that do
    /// not fill a patch.)
    pub shape: [usize; 5],
    /// `(B, N)`, true where the encoder must not look; N tokens in the order time, height, width. Every clip
    /// must have as many masked tokens as every other.
    pub bool_masked_pos: Option<&'a [bool]>,
    /// What classification is trained on; the model then also returns its loss. Pre-training makes its own
    /// targets and takes none.
    pub labels: Option<Labels<'a>>,
    /// Divides the summed cross entropy instead of the number of labels: the clips of all the batches that one
    /// optimiser step accumulates.
    pub num_items_in_batch: Option<f32>,
    /// Whether to return the input of the first encoder layer and the output of every one. `None` leaves it to
    /// the configuration.
    pub output_hidden_states: Option<bool>,
    /// Whether to return the attention probabilities of every encoder layer. They are computed beside the
    /// fused attention and take B·h·S² floats a layer: 118 MB for one clip of the base model. `None` leaves it
    /// to the configuration.
    pub output_attentions: Option<bool>,
}

/// The pixels of a batch of clips.
#[derive(Clone, Copy, Debug)]
pub enum Pixels<'a> {
    /// Normalised numbers, `pixel_values`.
    Values(&'a [f32]),
    /// The levels that they were made of, which take a quarter of the way to a device; it looks them up there.
    Levels {
        /// Bytes in the order of `pixel_values`.
        levels: &'a [u8],
        /// What rescaling and normalising make of each level of each channel.
        table: &'a [[f32; 256]],
    },
}

impl Pixels<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Levels { levels, .. } => levels.len(),
        }
    }
}

/// The labels of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Labels<'a> {
    /// Class indices `(B)`; −100 takes a clip out of the loss. With one label in the configuration, integers
    /// to regress to.
    Classes(&'a [i64]),
    /// `(B, num_labels)`: targets in `[0, 1]` of a multi-label problem, or of a regression.
    Values(&'a [f32]),
}

impl<'a> VideoInputs<'a> {
    /// Normalised pixels `(B, T, C, H, W)`, and nothing else asked for.
    pub fn new(pixel_values: &'a [f32], shape: [usize; 5]) -> Self {
        Self::of(Pixels::Values(pixel_values), shape)
    }

    /// As [`VideoInputs::new`] with the levels of pixels, and what each level of each channel becomes: the same results,
    /// bit for bit, as with the numbers looked up before.
    pub fn from_levels(levels: &'a [u8], table: &'a [[f32; 256]], shape: [usize; 5]) -> Self {
        Self::of(Pixels::Levels { levels, table }, shape)
    }

    fn of(pixels: Pixels<'a>, shape: [usize; 5]) -> Self {
        Self {
            pixels,
            shape,
            bool_masked_pos: None,
            labels: None,
            num_items_in_batch: None,
            output_hidden_states: None,
            output_attentions: None,
        }
    }

    pub(crate) fn output_hidden_states(&self, config: &VideoMAEConfig) -> bool {
        self.output_hidden_states.unwrap_or(config.output_hidden_states)
    }

    pub(crate) fn output_attentions(&self, config: &VideoMAEConfig) -> bool {
        self.output_attentions.unwrap_or(config.output_attentions)
    }

    /// For the models that compute no loss of labels: an argument is never ignored.
    pub(crate) fn refuse_labels(&self, model: &str) -> Result<()> {
        match (self.labels, self.num_items_in_batch) {
            (None, None) => Ok(()),
            _ => Err(Error::input("labels", format!("none for {model}"), "labels, or a number of them")),
        }
    }

    /// Checks everything about the pixels that does not depend on a weight.
    pub(crate) fn check(&self, num_channels: usize, geometry: PatchGeometry) -> Result<ClipDims> {
        let shape = Shape::from(self.shape);
        let [batch, frames, channels, height, width] = self.shape;
        if self.shape.contains(&0) {
            return Err(Error::input(
                "pixel_values",
                "no size of zero in (B, T, C, H, W)",
                shape.to_string(),
            ));
        }
        if shape.checked_elements() != Some(self.pixels.len()) {
            let found = format!("{} values", self.pixels.len());
            return Err(Error::input("pixel_values", format!("the values of shape {shape}"), found));
        }
        if channels != num_channels {
            return Err(Error::input(
                "pixel_values",
                format!("{num_channels} channels, the third size of (B, T, C, H, W)"),
                format!("{channels} in {shape}"),
            ));
        }
        if let Pixels::Levels { table, .. } = self.pixels
            && table.len() != channels
        {
            let found = format!("{} for {shape}", table.len());
            return Err(Error::input("table", "256 numbers for each channel", found));
        }
        for (name, size, unit_name, unit) in [
            ("frames", frames, "tubelet_size", geometry.tubelet_size),
            ("pixel rows", height, "patch height", geometry.patch_height),
            ("pixel columns", width, "patch width", geometry.patch_width),
        ] {
            if !size.is_multiple_of(unit) {
                return Err(Error::input(
                    "pixel_values",
                    format!("a number of {name} that the {unit_name} {unit} divides"),
                    format!("{size} in {shape}"),
                ));
            }
        }
        let PatchGeometry { tubelet_size, patch_height, patch_width } = geometry;
        Ok(ClipDims {
            batch,
            tokens: (frames / tubelet_size) * (height / patch_height) * (width / patch_width),
            patch: channels * tubelet_size * patch_height * patch_width,
        })
    }
}

/// The sizes that follow from valid pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClipDims {
    /// B
    pub batch: usize,
    /// N
    pub tokens: usize,
    /// P, the elements of a patch
    pub patch: usize,
}

/// A mask as two lists of token indices, each ascending within its clip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenSplit {
    /// `(B, V)`
    pub visible: Vec<i32>,
    /// V
    pub num_visible: usize,
    /// `(B, M)`
    pub masked: Vec<i32>,
    /// M
    pub num_masked: usize,
}

impl TokenSplit {
    /// `(B, V)`, ready for a backend.
    pub(crate) fn visible(&self) -> Result<View<'_>> {
        let batch = self.visible.len() / self.num_visible;
        Ok(View::i32([batch, self.num_visible], &self.visible)?)
    }

    /// `(B, M)`, ready for a backend.
    pub(crate) fn masked(&self) -> Result<View<'_>> {
        // No clip has zero visible tokens, so their number says how many clips there are.
        let batch = self.visible.len() / self.num_visible;
        Ok(View::i32([batch, self.num_masked], &self.masked)?)
    }

    /// Splits a mask `(B, N)`.
    ///
    /// The reference gathers over the flattened mask and cuts the result into equal parts, so rows of unequal
    /// counts silently move tokens from one clip to another. Here they are an error.
    pub(crate) fn of(mask: &[bool], dims: ClipDims) -> Result<Self> {
        const WHAT: &str = "bool_masked_pos";
        let ClipDims { batch, tokens, .. } = dims;
        if mask.len() != batch * tokens {
            let expected = format!("({batch}, {tokens}), {} values", batch * tokens);
            return Err(Error::input(WHAT, expected, format!("{} values", mask.len())));
        }
        if i32::try_from(tokens).is_err() {
            return Err(Error::input(
                WHAT,
                format!("at most {} tokens a clip", i32::MAX),
                tokens.to_string(),
            ));
        }
        let mut split = Self::default();
        for (row, mask) in mask.chunks_exact(tokens).enumerate() {
            let count = mask.iter().filter(|&&masked| masked).count();
            if row == 0 {
                split.num_masked = count;
            } else if count != split.num_masked {
                return Err(Error::input(
                    WHAT,
                    format!("as many masked tokens in every row as the {} of row 0", split.num_masked),
                    format!("{count} in row {row}"),
                ));
            }
            for (token, &masked) in (0i32..).zip(mask) {
                if masked { &mut split.masked } else { &mut split.visible }.push(token);
            }
        }
        split.num_visible = tokens - split.num_masked;
        if split.num_visible == 0 {
            return Err(Error::input(
                WHAT,
                "at least one visible token in every row",
                format!("all {tokens} masked"),
            ));
        }
        Ok(split)
    }
}
