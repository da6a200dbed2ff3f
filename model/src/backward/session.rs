//! What training keeps from step to step.

use std::sync::Arc;

use kernels_backend::{BackwardStream, Tensor, WeightFormat};

use super::{
    classification::HeadGradient,
    encoder::EncoderGradient,
    gradients::{Gradients, Reader, Visit},
    pretraining::DecoderGradient,
    stack::{StackDropouts, mix},
};
use crate::{
    Error, Result, VideoMAEConfig, VideoMAEModel,
    checkpoint::{Architecture, TensorSpec},
    outputs::HostTensor,
};

/// A stream that trains, the gradients it has accumulated, and where its dropouts have got to.
///
/// Made by the `training_session` method of a model, for that model.
pub struct TrainingSession {
    pub(super) stream: Box<dyn BackwardStream>,
    pub(super) encoder: EncoderGradient,
    pub(super) tail: TailGradient,
    /// `(B, T, C, H, W)` of the last batch.
    pub(super) pixel_values: Option<Tensor>,
    parameters: Vec<TensorSpec>,
    seed: u64,
    step: u64,
}

/// The gradients of what a model has after the encoder.
pub(super) enum TailGradient {
    Classification(Box<HeadGradient>),
    PreTraining(Box<DecoderGradient>),
}

impl std::fmt::Debug for TrainingSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TrainingSession on {} at step {}", self.stream.backend_name(), self.step)
    }
}

impl TrainingSession {
    pub(super) fn new(
        model: &VideoMAEModel,
        architecture: Architecture,
        seed: u64,
        tail: impl FnOnce(&mut dyn BackwardStream) -> Result<TailGradient>,
    ) -> Result<Self> {
        // Gradients of half precision underflow unless the loss is scaled, and steps smaller than half a unit in
        // the last place of a weight are lost.
        if model.format != WeightFormat::F32 {
            return Err(Error::input("format", "a model of f32 to train", model.format.to_string()));
        }
        let mut stream = Arc::clone(&model.backend).backward_stream()?;
        Ok(Self {
            encoder: EncoderGradient::new(&mut *stream, model)?,
            tail: tail(&mut *stream)?,
            pixel_values: None,
            parameters: architecture.tensors(&model.config)?,
            stream,
            seed,
            step: 0,
        })
    }

    /// The batches seen so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Sets the number of batches seen so far, which with the seed decides what the next dropouts drop: to go on
    /// where another session stopped, or to draw the same once more.
    pub fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Forgets all gradients.
    ///
    /// # Errors
    /// What the backend says.
    pub fn zero_gradients(&mut self) -> Result<()> {
        self.visit(&mut |stream, _, gradient| Ok(stream.zero(gradient)?))
    }

    /// Reads all gradients. Those of parameters are sums over the batches since the last
    /// [`TrainingSession::zero_gradients`].
    ///
    /// # Errors
    /// What the backend says.
    pub fn gradients(&mut self) -> Result<Gradients> {
        let mut reader = Reader::new();
        self.visit(&mut |stream, key, gradient| reader.take(stream, key, gradient))?;
        let mut pixel_values = HostTensor::default();
        if let Some(gradient) = &self.pixel_values {
            pixel_values.read(self.stream.forward(), gradient)?;
        }
        reader.finish(&self.parameters, pixel_values)
    }

    /// The dropouts of this step, for encoder and decoder. Moves on to the next.
    pub(super) fn next_dropouts(&mut self, config: &VideoMAEConfig) -> [StackDropouts; 2] {
        let step = mix(self.seed).wrapping_add(self.step);
        self.step += 1;
        [0, 1].map(|stack| StackDropouts::new(config, mix(mix(step).wrapping_add(stack))))
    }

    fn visit(
        &mut self,
        visit: &mut dyn FnMut(&mut dyn BackwardStream, &str, &mut Tensor) -> Result<()>,
    ) -> Result<()> {
        let Self { stream, encoder, tail, .. } = self;
        let visit: &mut Visit<'_> = &mut |key, gradient| visit(&mut **stream, &key, gradient);
        encoder.visit(visit)?;
        match tail {
            TailGradient::Classification(head) => head.visit(visit),
            TailGradient::PreTraining(decoder) => decoder.visit(visit),
        }
    }
}

/// The refusal of a session that another kind of model made.
pub(super) fn foreign_session() -> Error {
    Error::input("session", "a training session of this model", "one of another kind of model")
}
