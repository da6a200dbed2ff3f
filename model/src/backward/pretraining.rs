//! Training the pre-training model.

use kernels_backend::{BackwardStream, DType, Epilogue, Layout, Rows, RowsMut, Shape, Tensor, View, Write};

use super::{
    Gradients, TrainingSession,
    encoder::EncoderRun,
    gradients::{LayerNormGradient, LinearGradient, Visit, zeros},
    session::{TailGradient, foreign_session},
    stack::{Stack, StackDropouts, StackGradient},
};
use crate::{
    Result, VideoMAEForPreTraining,
    checkpoint::Architecture,
    decoder::Decoder,
    inputs::{ClipDims, TokenSplit, VideoInputs},
    loss::LossRun,
    positions::sinusoid_table,
    session::LossSlots,
};

impl VideoMAEForPreTraining {
    /// A session to train this model in; `seed` decides what dropouts drop.
    ///
    /// # Errors
    /// [`kernels_backend::Error::Unsupported`] where the backend only runs forward; [`crate::Error::Input`] for a
    /// model of another precision than f32.
    pub fn training_session(&self, seed: u64) -> Result<TrainingSession> {
        TrainingSession::new(&self.videomae, Architecture::PreTraining, seed, |s| {
            Ok(TailGradient::PreTraining(Box::new(DecoderGradient::new(s, &self.decoder)?)))
        })
    }

    /// The loss of a batch, and the gradients of this batch alone.
    ///
    /// # Errors
    /// As [`VideoMAEForPreTraining::accumulate_gradients`].
    pub fn loss_and_gradients(
        &self,
        session: &mut TrainingSession,
        inputs: &VideoInputs<'_>,
    ) -> Result<(f32, Gradients)> {
        session.zero_gradients()?;
        let loss = self.accumulate_gradients(session, inputs)?;
        Ok((loss, session.gradients()?))
    }

    /// The loss of a batch in training mode, with dropout. Its gradients join those that the session has.
    /// Targets are constants: no gradient reaches the pixels through them. Hidden states and attentions are
    /// not recorded here.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for anything wrong with the inputs; what the backend says otherwise.
    pub fn accumulate_gradients(
        &self,
        session: &mut TrainingSession,
        inputs: &VideoInputs<'_>,
    ) -> Result<f32> {
        let (dims, split) = self.check(inputs)?;
        let [encoder_dropouts, decoder_dropouts] = session.next_dropouts(self.config());
        let TrainingSession { stream, encoder, tail, pixel_values, .. } = session;
        let TailGradient::PreTraining(gradient) = tail else { return Err(foreign_session()) };
        let s = &mut **stream;

        let mut run = EncoderRun::new(s, &self.videomae, inputs.shape, dims, Some(&split))?;
        let mut decoder = DecoderRun::new(s, &self.decoder, dims, &split)?;
        run.write(s, inputs, Some(&split))?;

        self.videomae.forward_training(s, &mut run, encoder_dropouts)?;
        self.decoder.forward_training(s, run.last(), &mut decoder, decoder_dropouts)?;
        let DecoderRun { masked, logits, dlogits, .. } = &mut decoder;
        let mut loss_slots = LossSlots::default();
        let target = LossRun {
            labels: loss_slots.labels.rows(s, *logits.shape(), DType::F32)?,
            loss: loss_slots.loss.rows(s, [1], DType::F32)?,
        };
        s.patch_targets(&run.pixel_values, &self.targets(), masked, target.labels)?;
        s.mse_loss(logits, target.labels, target.loss, Some(dlogits))?;
        let loss = target.read(s)?;
        self.decoder.backward(s, &mut run, &mut decoder, decoder_dropouts, gradient)?;
        self.videomae.backward(s, &mut run, encoder_dropouts, encoder)?;
        *pixel_values = Some(run.dpixel_values);
        Ok(loss)
    }
}

impl Decoder {
    /// As [`Decoder::forward`], from `encoded (B, V, D)` to the logits of `run`.
    fn forward_training(
        &self,
        s: &mut dyn BackwardStream,
        encoded: &Tensor,
        run: &mut DecoderRun,
        dropouts: StackDropouts,
    ) -> Result<()> {
        let DecoderRun { visible, masked, positions, stack, stats, normed, logits, .. } = run;
        self.join(s.forward(), encoded, (visible, masked), positions, stack.input())?;
        stack.forward(s, &self.layers, dropouts)?;
        let last = Rows::range(&stack.output, run.num_visible..run.num_tokens)?;
        s.layer_norm(last, &self.norm, (&mut *normed).into(), Some(stats))?;
        s.linear((&*normed).into(), &self.head, Epilogue::none(), logits.into())?;
        Ok(())
    }

    /// From the gradient by the logits to that by the encoder's last hidden state.
    fn backward(
        &self,
        s: &mut dyn BackwardStream,
        encoder: &mut EncoderRun,
        run: &mut DecoderRun,
        dropouts: StackDropouts,
        gradient: &mut DecoderGradient,
    ) -> Result<()> {
        let DecoderRun { stack, stats, normed, dlogits, dnormed, num_visible, num_tokens, .. } = run;
        let masked = *num_visible..*num_tokens;
        let sink = gradient.head.sink((&mut *dnormed).into());
        s.linear_backward((&*normed).into(), &self.head, (&*dlogits).into(), sink)?;

        // The last layer's outputs for visible tokens go nowhere, so their gradient is zero.
        s.zero(&mut stack.d)?;
        let last = Rows::range(&stack.output, masked.clone())?;
        let sink = gradient.norm.sink(RowsMut::range(&mut stack.d, masked.clone())?, Write::Replace);
        s.layer_norm_backward(last, &self.norm, stats, (&*dnormed).into(), sink)?;
        stack.backward(s, &self.layers, dropouts, &mut gradient.layers)?;

        // x = [encoder_to_decoder(encoded) + positions | mask token + positions]
        s.sum_rows(Rows::range(&stack.d, masked)?, &mut gradient.mask_token)?;
        let (encoded, d) = encoder.last_and_d();
        let sink = gradient.encoder_to_decoder.sink(d.into());
        let dx = Rows::range(&stack.d, 0..*num_visible)?;
        s.linear_backward(encoded.into(), &self.encoder_to_decoder, dx, sink)?;
        Ok(())
    }
}

/// What the decoder keeps from its forward, and the gradients on its way back.
struct DecoderRun {
    /// V
    num_visible: usize,
    /// N
    num_tokens: usize,
    /// `(B, V)`
    visible: Tensor,
    /// `(B, M)`
    masked: Tensor,
    /// `(N, Dd)`
    positions: Tensor,
    stack: Stack,
    /// `(B·M, 2)`
    stats: Tensor,
    /// `(B, M, Dd)`
    normed: Tensor,
    /// `(B, M, P)`
    logits: Tensor,
    /// `(B, M, P)`
    dlogits: Tensor,
    /// `(B, M, Dd)`
    dnormed: Tensor,
}

impl DecoderRun {
    /// Memory for a batch of these sizes, with its token lists and positions.
    fn new(
        s: &mut dyn BackwardStream,
        decoder: &Decoder,
        dims: ClipDims,
        split: &TokenSplit,
    ) -> Result<Self> {
        let ClipDims { batch, tokens, patch } = dims;
        let (width, masked) = (decoder.config.hidden_size, split.num_masked);
        let table = sinusoid_table(tokens, width);
        let mut alloc = |shape: &[usize], dtype| s.alloc(Shape::new(shape), dtype, Layout::Rows);
        let mut run = Self {
            num_visible: split.num_visible,
            num_tokens: tokens,
            visible: alloc(&[batch, split.num_visible], DType::I32)?,
            masked: alloc(&[batch, masked], DType::I32)?,
            positions: alloc(&[tokens, width], DType::F32)?,
            stats: alloc(&[batch * masked, 2], DType::F32)?,
            normed: alloc(&[batch, masked, width], DType::F32)?,
            logits: alloc(&[batch, masked, patch], DType::F32)?,
            dlogits: alloc(&[batch, masked, patch], DType::F32)?,
            dnormed: alloc(&[batch, masked, width], DType::F32)?,
            stack: Stack::new(s, &decoder.config, batch, tokens)?,
        };
        s.write(&split.visible()?, &mut run.visible)?;
        s.write(&split.masked()?, &mut run.masked)?;
        s.write(&View::f32([tokens, width], &table)?, &mut run.positions)?;
        Ok(run)
    }
}

/// The gradients of the decoder's parameters.
pub(super) struct DecoderGradient {
    encoder_to_decoder: LinearGradient,
    /// `(Dd)`
    mask_token: Tensor,
    layers: StackGradient,
    norm: LayerNormGradient,
    head: LinearGradient,
}

impl DecoderGradient {
    fn new(s: &mut dyn BackwardStream, decoder: &Decoder) -> Result<Self> {
        Ok(Self {
            encoder_to_decoder: LinearGradient::new(s, &decoder.encoder_to_decoder, false)?,
            mask_token: zeros(s, *decoder.mask_token.shape())?,
            layers: StackGradient::new(s, &decoder.layers, decoder.config.qkv_bias)?,
            norm: LayerNormGradient::new(s, &decoder.norm)?,
            head: LinearGradient::new(s, &decoder.head, true)?,
        })
    }

    pub(super) fn visit(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        self.encoder_to_decoder.visit("encoder_to_decoder", visit)?;
        visit("mask_token".to_owned(), &mut self.mask_token)?;
        self.layers.visit("decoder.decoder_layers", visit)?;
        self.norm.visit("decoder.norm", visit)?;
        self.head.visit("decoder.head", visit)
    }
}
