//! What the model takes.

/// A batch of clips, ready for the model: `(B, T, C, H, W)`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelValues {
    /// B · T · C · H · W values.
    pub data: Vec<f32>,
    /// `[B, T, C, H, W]`.
    pub shape: [usize; 5],
}

impl PixelValues {
    /// The values as `(B, T, H, W, C)`: what transformers 4 returns for `data_format="channels_last"`, which
    /// transformers 5 takes and ignores. The model does not take this layout.
    pub fn to_channels_last(&self) -> Vec<f32> {
        let [.., channels, height, width] = self.shape;
        let plane = height * width;
        let frames = self.data.chunks_exact(channels * plane);
        let pixel = |frame, i| (0..channels).map(move |channel| read(frame, channel * plane + i));
        frames.flat_map(|frame| (0..plane).flat_map(move |i| pixel(frame, i))).collect()
    }
}

/// A batch of clips before rescaling and normalising: bytes in the order of [`PixelValues`].
#[derive(Clone, Debug, PartialEq)]
pub struct PixelLevels {
    /// B · T · C · H · W levels.
    pub data: Vec<u8>,
    /// `[B, T, C, H, W]`.
    pub shape: [usize; 5],
    /// What each level of each of the C channels becomes.
    pub table: Vec<[f32; 256]>,
}

impl PixelLevels {
    /// The values that the levels stand for.
    pub fn to_pixel_values(&self) -> PixelValues {
        let [.., channels, height, width] = self.shape;
        let planes = self.data.chunks((height * width).max(1)).enumerate();
        let value = |(i, plane): (usize, &'_ [u8])| -> Vec<f32> {
            plane.iter().map(|&level| self.table[i % channels][usize::from(level)]).collect()
        };
        PixelValues { data: planes.flat_map(value).collect(), shape: self.shape }
    }
}

fn read(frame: &[f32], index: usize) -> f32 {
    frame[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_move_to_the_end() {
        let values = PixelValues { data: (0..12u8).map(f32::from).collect(), shape: [1, 2, 3, 1, 2] };
        assert_eq!(values.to_channels_last(), [0., 2., 4., 1., 3., 5., 6., 8., 10., 7., 9., 11.]);
    }
}
