//! What the model takes.

/// A batch of clips, ready for the model: `(B, T, C, H, W)`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelValues {
    /// B · T · C · H · W values.
    pub data: Vec<f32>,
    /// `[B, T, C, H, W]`.
    pub shape: [usize; 5],
}
