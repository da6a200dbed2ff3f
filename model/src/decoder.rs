//! The pre-training decoder: from visible tokens to the pixels of masked ones.

use kernels_backend::{Epilogue, LayerNorm, Linear, Rows, RowsMut, Stream, Tensor, Write};

use crate::{
    Result, VideoMAEConfig,
    layer::{Layer, LayerScratch},
    packer::{Block, Packer},
};

/// A narrow transformer over all tokens (`VideoMAEDecoder`, with the parts of `VideoMAEForPreTraining` that feed
/// it).
#[derive(Debug)]
pub(crate) struct Decoder {
    /// With the decoder's sizes in place of the encoder's
    pub config: VideoMAEConfig,
    /// To the decoder's width, without a bias
    pub encoder_to_decoder: Linear,
    /// `(Dd)`, learnt, the same for every masked token
    pub mask_token: Tensor,
    pub layers: Vec<Layer>,
    /// With the library's epsilon, not the configuration's
    pub norm: LayerNorm,
    pub head: Linear,
}

/// The decoder's inputs on the backend, and its activations in their shapes.
pub(crate) struct DecoderRun<'a> {
    /// `(B, V)`
    pub visible: &'a Tensor,
    /// `(B, M)`
    pub masked: &'a Tensor,
    /// `(N, Dd)`
    pub positions: &'a Tensor,
    /// `(B, N, Dd)`
    pub hidden: &'a mut Tensor,
    pub scratch: LayerScratch<'a>,
}

impl Decoder {
    /// Takes what pre-training has beside the encoder.
    pub(crate) fn load(packer: &Packer<'_>, encoder: &VideoMAEConfig) -> Result<Self> {
        let config = encoder.decoder()?;
        let width = config.hidden_size;
        let stack = packer.sub("decoder");
        let layer = |i| Layer::load(&stack.sub("decoder_layers").index(i), &config);
        Ok(Self {
            encoder_to_decoder: packer.ends().fused(&[Block {
                name: "encoder_to_decoder",
                shape: &[width, encoder.hidden_size],
                bias: false,
            }])?,
            mask_token: packer.vector("mask_token", &[1, 1, width])?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: stack.layer_norm("norm", width, VideoMAEConfig::HEAD_NORM_EPS)?,
            head: stack.ends().linear("head", config.patch_dim(), width)?,
            config,
        })
    }

    /// `logits (B, M, P)` of the masked tokens, ascending, from `encoded (B, V, D)`.
    ///
    /// The order of tokens inside is visible first, then masked; each carries the position it has in the video.
    pub(crate) fn forward(
        &self,
        s: &mut dyn Stream,
        encoded: &Tensor,
        run: &mut DecoderRun<'_>,
        logits: &mut Tensor,
    ) -> Result<()> {
        let DecoderRun { visible, masked, positions, hidden, scratch } = run;
        self.join(s, encoded, (visible, masked), positions, hidden)?; // (B, N, Dd)
        for layer in &self.layers {
            layer.forward(s, hidden, scratch)?;
        }
        // Only the masked tokens are predicted, so only their rows are normed and projected, in place.
        let (start, end) = masked_rows(visible, masked);
        let last = RowsMut::range(scratch.normed, start..end)?;
        s.layer_norm(Rows::range(hidden, start..end)?, &self.norm, last, None)?; // (B, M, Dd)
        let last = Rows::range(scratch.normed, start..end)?;
        s.linear(last, &self.head, Epilogue::none(), logits.into())?; // (B, M, P)
        Ok(())
    }

    /// `x (B, N, Dd) = [encoded·Wᵀ + positions of visible | mask token + positions of masked]`, each half written
    /// where it stays.
    pub(crate) fn join(
        &self,
        s: &mut dyn Stream,
        encoded: &Tensor,
        (visible, masked): (&Tensor, &Tensor),
        positions: &Tensor,
        x: &mut Tensor,
    ) -> Result<()> {
        let (start, end) = masked_rows(visible, masked);
        s.gather_rows(positions, visible, Write::Replace, RowsMut::range(x, 0..start)?)?;
        let first = RowsMut::range(x, 0..start)?;
        s.linear(encoded.into(), &self.encoder_to_decoder, Epilogue::accumulate(), first)?;
        s.gather_rows(positions, masked, Write::Replace, RowsMut::range(x, start..end)?)?;
        s.broadcast_rows(&self.mask_token, Write::Accumulate, RowsMut::range(x, start..end)?)?;
        Ok(())
    }
}

/// The decoder's rows of a clip that hold masked tokens.
pub(crate) fn masked_rows(visible: &Tensor, masked: &Tensor) -> (usize, usize) {
    let (visible, masked) = (visible.shape()[1], masked.shape()[1]);
    (visible, visible + masked)
}
