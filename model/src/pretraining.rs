//! The encoder with a decoder that predicts the pixels it did not see.

use std::{path::Path, sync::Arc};

use kernels_backend::{Backend, DType, PatchTargets, Stream, Tensor, WeightFormat, enter};

use crate::{
    Error, Result, VideoMAEConfig, VideoMAEModel,
    checkpoint::{
        self, Architecture, Checkpoint, LoadOptions, LoadReport, SaveOptions, WeightLoader, WeightSource,
    },
    decoder::{Decoder, DecoderRun},
    inputs::{ClipDims, TokenSplit, VideoInputs},
    loss::LossRun,
    model::EncoderRun,
    outputs::{HostTensor, Record},
    packer::Packer,
    session::{DecoderSlots, Session},
};

/// Mean and standard deviation of ImageNet's red, green and blue. The reference undoes a normalisation with these
/// before it makes targets, whatever the processor used; with `norm_pix_loss` the choice cancels out.
const IMAGENET: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];

/// Clips and a mask in, the pixels of the masked tokens out (`VideoMAEForPreTraining`).
#[derive(Debug)]
pub struct VideoMAEForPreTraining {
    pub(crate) videomae: VideoMAEModel,
    pub(crate) decoder: Decoder,
}

/// What [`VideoMAEForPreTraining`] returns.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PreTrainingOutput {
    /// The mean squared error over all masked patches.
    pub loss: f32,
    /// `(B, M, P)`: row m is the m-th masked token in ascending order, its elements in the order tubelet, patch
    /// row, patch column, channel. With `norm_pix_loss` they are in units of each patch's own deviation.
    pub logits: HostTensor,
    /// As [`crate::ModelOutput::hidden_states`]; of the encoder only.
    pub hidden_states: Vec<HostTensor>,
    /// As [`crate::ModelOutput::attentions`]; of the encoder only.
    pub attentions: Vec<HostTensor>,
}

impl VideoMAEForPreTraining {
    /// Loads a checkpoint: a directory with `config.json` and weights.
    ///
    /// # Errors
    /// What reading the configuration and the weights says; [`crate::Error::Load`] for weights that do not make
    /// this model; [`crate::Error::Config`] for `norm_pix_loss` false with channels other than RGB.
    pub fn from_pretrained(
        directory: impl AsRef<Path>,
        backend: Arc<dyn Backend>,
        options: &LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        let config = VideoMAEConfig::from_pretrained(&directory)?;
        Self::from_weights(config, &Checkpoint::open(&directory)?, backend, options)
    }

    /// Builds the model from any source of weights, such as [`crate::checkpoint::FreshWeights`].
    ///
    /// # Errors
    /// As [`Self::from_pretrained`].
    pub fn from_weights(
        config: VideoMAEConfig,
        source: &dyn WeightSource,
        backend: Arc<dyn Backend>,
        options: &LoadOptions,
    ) -> Result<(Self, LoadReport)> {
        check_targets(&config)?;
        let loader = WeightLoader::new(source, &config, Architecture::PreTraining, *options)?;
        let packer = Packer::new(loader.root(), &*backend, options.format);
        let decoder = Decoder::load(&packer, &config)?;
        let videomae = VideoMAEModel::load(&packer, &config, &backend)?;
        Ok((Self { videomae, decoder }, loader.finish()?))
    }

    /// Writes `config.json` and `weights` into a directory, as every generation of transformers reads them.
    ///
    /// A model keeps its weights only as its backend packed them, which halves its memory and may have rounded
    /// them. So they are given again: the source the model was built from, or what training made of it.
    ///
    /// # Errors
    /// As [`checkpoint::save_pretrained`].
    pub fn save_pretrained(
        &self,
        directory: impl AsRef<Path>,
        weights: &dyn WeightSource,
        options: &SaveOptions,
    ) -> Result<()> {
        checkpoint::save_pretrained(directory, self.config(), Architecture::PreTraining, weights, options)
    }

    /// The configuration the model was built from.
    pub fn config(&self) -> &VideoMAEConfig {
        self.videomae.config()
    }

    /// The precision of linear layers, as [`LoadOptions::format`] chose it.
    pub fn format(&self) -> WeightFormat {
        self.videomae.format()
    }

    /// A session to run this model in.
    ///
    /// # Errors
    /// What the backend says of opening a stream.
    pub fn session(&self) -> Result<Session> {
        Session::new(Arc::clone(&self.videomae.backend))
    }

    /// Runs the model and its loss. `bool_masked_pos` is required, and must leave something visible and hide
    /// something in every clip.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for anything wrong with the inputs; what the backend says otherwise.
    pub fn forward(&self, session: &mut Session, inputs: &VideoInputs<'_>) -> Result<PreTrainingOutput> {
        let mut output = PreTrainingOutput::default();
        self.forward_into(session, inputs, &mut output)?;
        Ok(output)
    }

    /// As [`VideoMAEForPreTraining::forward`], into an output whose memory is used again.
    ///
    /// # Errors
    /// As [`VideoMAEForPreTraining::forward`].
    pub fn forward_into(
        &self,
        session: &mut Session,
        inputs: &VideoInputs<'_>,
        output: &mut PreTrainingOutput,
    ) -> Result<()> {
        let done = self.run(session, inputs, output);
        done.map_err(|error| {
            session.explain(error, inputs.shape[0], |plan| self.prepare_all(plan, inputs).map(drop))
        })
    }

    fn run(
        &self,
        session: &mut Session,
        inputs: &VideoInputs<'_>,
        output: &mut PreTrainingOutput,
    ) -> Result<()> {
        let PreTrainingRun { stream, encoder: mut run, mut decoder, scores, target } =
            self.prepare_all(session, inputs)?;
        let masked = decoder.masked;
        let PreTrainingOutput { loss, logits, hidden_states, attentions } = output;
        let mut record = Record::new(self.config(), inputs, hidden_states, attentions);
        enter(stream, |s| {
            self.videomae.encode(s, &mut run, &mut record)?;
            let encoded = self.videomae.last_hidden_state(s, &mut run)?; // (B, V, D)
            self.decoder.forward(s, encoded, &mut decoder, scores)?; // (B, M, P)
            s.patch_targets(run.pixel_values, &self.targets(), masked, target.labels)?; // (B, M, P)
            s.mse_loss(scores, target.labels, target.loss, None)?;
            *loss = target.read(s)?;
            logits.read(s, scores)
        })
    }

    /// Checks the inputs, brings them to the backend and gives every activation its shape.
    fn prepare_all<'a>(
        &self,
        session: &'a mut Session,
        inputs: &VideoInputs<'_>,
    ) -> Result<PreTrainingRun<'a>> {
        let (dims, split) = self.check(inputs)?;
        let dtype = self.videomae.dtypes.activations;
        let Session { stream, slots } = session;
        let stream = &mut **stream;
        let visible = &*slots.visible.write(stream, &split.visible()?)?;
        let masked = &*slots.masked.write(stream, &split.masked()?)?;
        let encoder = self.videomae.prepare(stream, &mut slots.encoder, inputs, dims, Some(visible))?;
        let decoder = self.prepare(stream, &mut slots.decoder, dims, (visible, masked))?;
        let reconstruction = [dims.batch, split.num_masked, dims.patch];
        let scores = slots.head.logits.rows(stream, reconstruction, dtype)?;
        let target = LossRun {
            labels: slots.loss.labels.rows(stream, reconstruction, dtype)?,
            loss: slots.loss.loss.rows(stream, [1], DType::F32)?,
        };
        Ok(PreTrainingRun { stream, encoder, decoder, scores, target })
    }

    /// Checks the inputs, among them the mask that only pre-training requires.
    pub(crate) fn check(&self, inputs: &VideoInputs<'_>) -> Result<(ClipDims, TokenSplit)> {
        inputs.refuse_labels("pre-training, which takes its targets from the pixels")?;
        let (dims, split) = self.videomae.check(inputs)?;
        let Some(split) = split else {
            return Err(Error::input("bool_masked_pos", "a mask for pre-training", "none"));
        };
        if split.num_masked == 0 {
            return Err(Error::input(
                "bool_masked_pos",
                "at least one masked token in every row for pre-training",
                format!("all {} visible", dims.tokens),
            ));
        }
        Ok((dims, split))
    }

    /// Gives every activation of the decoder its shape.
    fn prepare<'a>(
        &self,
        stream: &mut dyn Stream,
        slots: &'a mut DecoderSlots,
        dims: ClipDims,
        (visible, masked): (&'a Tensor, &'a Tensor),
    ) -> Result<DecoderRun<'a>> {
        let config = &self.decoder.config;
        let ClipDims { batch, tokens, .. } = dims;
        let dtype = self.videomae.dtypes.activations;
        Ok(DecoderRun {
            visible,
            masked,
            positions: slots.positions.prepare(stream, tokens, config.hidden_size)?,
            hidden: slots.hidden.rows(stream, [batch, tokens, config.hidden_size], dtype)?,
            scratch: slots.layer.prepare(stream, config, [batch, tokens], self.videomae.dtypes)?,
        })
    }

    /// How pixels become targets.
    pub(crate) fn targets(&self) -> PatchTargets<'static> {
        let rgb = self.config().num_channels == IMAGENET.len();
        PatchTargets {
            geometry: self.videomae.embeddings.geometry,
            unnormalize: if rgb { &IMAGENET } else { &[] },
            normalize: self.config().norm_pix_loss,
        }
    }
}

/// A forward pass that is ready to run.
struct PreTrainingRun<'a> {
    stream: &'a mut dyn Stream,
    encoder: EncoderRun<'a>,
    decoder: DecoderRun<'a>,
    /// `(B, M, P)`
    scores: &'a mut Tensor,
    target: LossRun<'a>,
}

/// Plain pixels can only be targets where the normalisation can be undone, and only RGB has constants for that.
/// (The reference says so too, with advice that reads the wrong way round.)
fn check_targets(config: &VideoMAEConfig) -> Result<()> {
    if config.norm_pix_loss || config.num_channels == IMAGENET.len() {
        return Ok(());
    }
    Err(Error::Config {
        file: "config".to_owned(),
        field: "norm_pix_loss".to_owned(),
        expected: format!("true for {} channels, since only RGB can be unnormalised", config.num_channels),
        found: "false".to_owned(),
    })
}
