//! Embeddings, encoder layers and final norm.

use kernels_backend::{BackwardStream, DType, Layout, Tensor, View, Write};

use super::{
    gradients::{LayerNormGradient, LinearGradient, Visit},
    stack::{Stack, StackDropouts, StackGradient},
};
use crate::{
    Result, VideoMAEModel,
    inputs::{ClipDims, Pixels, TokenSplit, VideoInputs},
    positions::sinusoid_table,
};

/// What the encoder keeps from its forward, and the gradients on its way back. S of N tokens are seen.
pub(super) struct EncoderRun {
    /// `(B, T, C, H, W)`
    pub pixel_values: Tensor,
    /// `(B, V)`
    pub visible: Option<Tensor>,
    /// `(N, D)`
    positions: Tensor,
    /// `(B, S, P)`
    patches: Tensor,
    stack: Stack,
    norm: Option<FinalNorm>,
    /// `(B, S, P)`
    dpatches: Tensor,
    /// `(B, T, C, H, W)`
    pub dpixel_values: Tensor,
}

/// The final norm of models that have one.
struct FinalNorm {
    /// `(B, S, D)`
    output: Tensor,
    /// `(B·S, 2)`
    stats: Tensor,
    /// `(B, S, D)`
    d: Tensor,
}

/// The gradients of the encoder's parameters.
pub(super) struct EncoderGradient {
    projection: LinearGradient,
    layers: StackGradient,
    layernorm: Option<LayerNormGradient>,
}

impl EncoderRun {
    /// Memory for a batch of these sizes.
    pub(super) fn new(
        s: &mut dyn BackwardStream,
        model: &VideoMAEModel,
        shape: [usize; 5],
        dims: ClipDims,
        split: Option<&TokenSplit>,
    ) -> Result<Self> {
        let ClipDims { batch, tokens, patch } = dims;
        let width = model.config.hidden_size;
        let seen = split.map_or(tokens, |split| split.num_visible);
        let stack = Stack::new(s, &model.config, batch, seen)?;
        let mut rows =
            |shape: &[usize]| s.alloc(kernels_backend::Shape::new(shape), DType::F32, Layout::Rows);
        let norm = match model.layernorm {
            Some(_) => Some(FinalNorm {
                output: rows(&[batch, seen, width])?,
                stats: rows(&[batch * seen, 2])?,
                d: rows(&[batch, seen, width])?,
            }),
            None => None,
        };
        let (pixel_values, dpixel_values) = (rows(&shape)?, rows(&shape)?);
        let (patches, dpatches) = (rows(&[batch, seen, patch])?, rows(&[batch, seen, patch])?);
        let mut positions = rows(&[tokens, width])?;
        let table = sinusoid_table(tokens, width);
        s.write(&View::f32([tokens, width], &table)?, &mut positions)?;
        let visible = match split {
            Some(_) => Some(s.alloc([batch, seen].into(), DType::I32, Layout::Rows)?),
            None => None,
        };
        Ok(Self { pixel_values, visible, positions, patches, stack, norm, dpatches, dpixel_values })
    }

    /// Brings a batch to the backend.
    pub(super) fn write(
        &mut self,
        s: &mut dyn BackwardStream,
        inputs: &VideoInputs<'_>,
        split: Option<&TokenSplit>,
    ) -> Result<()> {
        match inputs.pixels {
            Pixels::Values(values) => s.write(&View::f32(inputs.shape, values)?, &mut self.pixel_values)?,
            Pixels::Levels { levels, table } => {
                let mut bytes = s.alloc(inputs.shape.into(), DType::U8, Layout::Rows)?;
                s.write(&View::u8(inputs.shape, levels)?, &mut bytes)?;
                let mut numbers = s.alloc([table.len(), 256].into(), DType::F32, Layout::Rows)?;
                s.write(&View::f32([table.len(), 256], table.as_flattened())?, &mut numbers)?;
                s.normalize_levels(&bytes, &numbers, &mut self.pixel_values)?;
            }
        }
        if let (Some(split), Some(visible)) = (split, &mut self.visible) {
            s.write(&split.visible()?, visible)?;
        }
        Ok(())
    }

    /// The encoder's last hidden state `(B, S, D)`, after its final norm if it has one.
    pub(super) fn last(&self) -> &Tensor {
        self.norm.as_ref().map_or(&self.stack.output, |norm| &norm.output)
    }

    /// `last`, and where its gradient goes.
    pub(super) fn last_and_d(&mut self) -> (&Tensor, &mut Tensor) {
        match &mut self.norm {
            Some(norm) => (&norm.output, &mut norm.d),
            None => (&self.stack.output, &mut self.stack.d),
        }
    }
}

impl VideoMAEModel {
    /// From the pixels of `run` to its last hidden state.
    pub(super) fn forward_training(
        &self,
        s: &mut dyn BackwardStream,
        run: &mut EncoderRun,
        dropouts: StackDropouts,
    ) -> Result<()> {
        let EncoderRun { pixel_values, visible, positions, patches, stack, norm, .. } = run;
        self.embeddings.forward(
            s.forward(),
            pixel_values,
            visible.as_ref(),
            positions,
            patches,
            stack.input(),
        )?;
        stack.forward(s, &self.encoder.layers, dropouts)?;
        if let (Some(layernorm), Some(norm)) = (&self.layernorm, norm) {
            let stats = Some(&mut norm.stats);
            s.layer_norm((&stack.output).into(), layernorm, (&mut norm.output).into(), stats)?;
        }
        Ok(())
    }

    /// From the gradient by the last hidden state to that by the pixels.
    pub(super) fn backward(
        &self,
        s: &mut dyn BackwardStream,
        run: &mut EncoderRun,
        dropouts: StackDropouts,
        gradients: &mut EncoderGradient,
    ) -> Result<()> {
        let EncoderRun { visible, patches, stack, norm, dpatches, dpixel_values, .. } = run;
        if let (Some(layernorm), Some(norm), Some(gradient)) =
            (&self.layernorm, norm, &mut gradients.layernorm)
        {
            let sink = gradient.sink((&mut stack.d).into(), Write::Replace);
            let dy = (&norm.d).into();
            s.layer_norm_backward((&stack.output).into(), layernorm, &norm.stats, dy, sink)?;
        }
        stack.backward(s, &self.encoder.layers, dropouts, &mut gradients.layers)?;

        // x = positions + projection(patches), and positions are no parameter
        let sink = gradients.projection.sink((&mut *dpatches).into());
        let dx = (&stack.d).into();
        s.linear_backward((&*patches).into(), &self.embeddings.projection, dx, sink)?;
        s.zero(dpixel_values)?;
        let geometry = self.embeddings.geometry;
        s.patchify_backward((&*dpatches).into(), geometry, visible.as_ref(), dpixel_values)?;
        Ok(())
    }
}

impl EncoderGradient {
    pub(super) fn new(s: &mut dyn BackwardStream, model: &VideoMAEModel) -> Result<Self> {
        let layernorm = match &model.layernorm {
            Some(norm) => Some(LayerNormGradient::new(s, norm)?),
            None => None,
        };
        Ok(Self {
            projection: LinearGradient::new(s, &model.embeddings.projection, true)?,
            layers: StackGradient::new(s, &model.encoder.layers, model.config.qkv_bias)?,
            layernorm,
        })
    }

    pub(super) fn visit(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        self.projection.visit("videomae.embeddings.patch_embeddings.projection", visit)?;
        self.layers.visit("videomae.encoder.layer", visit)?;
        self.layernorm.as_mut().map_or(Ok(()), |norm| norm.visit("videomae.layernorm", visit))
    }
}
