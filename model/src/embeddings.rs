//! From pixels to tokens.

use kernels_backend::{Epilogue, Linear, PatchGeometry, Stream, Tensor, Write};

use crate::{
    Result, VideoMAEConfig,
    packer::{Block, Packer},
};

/// Tubelets, projected, at their places (`VideoMAEEmbeddings`).
///
/// The reference's 3-D convolution has a stride equal to its kernel, so it is a linear layer over patches, and
/// its weight `(D, C, tubelet, height, width)` lies as that layer's `(D, P)` wants it.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub projection: Linear,
    pub geometry: PatchGeometry,
}

impl Embeddings {
    /// Takes the projection.
    pub(crate) fn load(packer: &Packer<'_>, config: &VideoMAEConfig) -> Result<Self> {
        let geometry = config.patch_geometry();
        let PatchGeometry { tubelet_size, patch_height, patch_width } = geometry;
        let shape = [config.hidden_size, config.num_channels, tubelet_size, patch_height, patch_width];
        let block = Block { name: "patch_embeddings.projection", shape: &shape, bias: true };
        Ok(Self { projection: packer.fused(&[block])?, geometry })
    }

    /// Three ops: `x (B, S, D) = positions + patches·Wᵀ + b`. Masked patches cost
    /// nothing, because they are never cut out.
    pub(crate) fn forward(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        visible: Option<&Tensor>,
        positions: &Tensor,
        patches: &mut Tensor,
        x: &mut Tensor,
    ) -> Result<()> {
        match visible {
            Some(visible) => s.gather_rows(positions, visible, Write::Replace, x.into())?, // (B, V, D)
            None => s.broadcast_rows(positions, Write::Replace, x.into())?,                // (B, N, D)
        }
        s.patchify(pixel_values, self.geometry, visible, patches.into())?; // (B, S, P)
        s.linear((&*patches).into(), &self.projection, Epilogue::accumulate(), x.into())?; // (B, S, D)
        Ok(())
    }
}
