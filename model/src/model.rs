//! The encoder as a model of its own.

use std::{fmt, path::Path, sync::Arc};

use kernels_backend::{Backend, LayerNorm, Stream, Tensor, View, WeightFormat, enter};

use crate::{
    Result, VideoMAEConfig,
    checkpoint::{
        self, Architecture, Checkpoint, LoadOptions, LoadReport, SaveOptions, WeightLoader, WeightSource,
    },
    embeddings::Embeddings,
    encoder::Encoder,
    inputs::{ClipDims, Pixels, TokenSplit, VideoInputs},
    layer::LayerScratch,
    outputs::{HostTensor, Record},
    packer::{DTypes, Packer},
    session::{EncoderSlots, PixelSlots, Session},
};

/// The bare encoder: clips in, one vector per visible token out.
pub struct VideoMAEModel {
    pub(crate) config: VideoMAEConfig,
    pub(crate) backend: Arc<dyn Backend>,
    /// Of linear layers
    pub(crate) format: WeightFormat,
    pub(crate) dtypes: DTypes,
    pub(crate) embeddings: Embeddings,
    pub(crate) encoder: Encoder,
    /// The final norm; mean-pooling models have theirs in the head.
    pub(crate) layernorm: Option<LayerNorm>,
}

/// What [`VideoMAEModel`] returns. S tokens: all N, or the V visible ones in ascending order.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelOutput {
    /// `(B, S, D)`; through the final layer norm only where `use_mean_pooling` is false.
    pub last_hidden_state: HostTensor,
    /// L + 1 arrays `(B, S, D)` if asked for: the input of the first layer, then every layer's output, the last
    /// one before the final layer norm.
    pub hidden_states: Vec<HostTensor>,
    /// L arrays of probabilities `(B, h, S, S)` if asked for.
    pub attentions: Vec<HostTensor>,
}

impl VideoMAEModel {
    /// Loads a checkpoint: a directory with `config.json` and weights.
    ///
    /// # Errors
    /// What reading the configuration and the weights says; [`crate::Error::Load`] for weights that do not make
    /// this model.
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
        let loader = WeightLoader::new(source, &config, Architecture::Model, *options)?;
        let packer = Packer::new(loader.root(), &*backend, options.format);
        let model = Self::load(&packer, &config, &backend)?;
        Ok((model, loader.finish()?))
    }

    /// Takes the encoder's part of any of the three models.
    pub(crate) fn load(
        packer: &Packer<'_>,
        config: &VideoMAEConfig,
        backend: &Arc<dyn Backend>,
    ) -> Result<Self> {
        let packer = packer.sub("videomae");
        let norm = || packer.layer_norm("layernorm", config.hidden_size, config.layer_norm_eps as f32);
        Ok(Self {
            embeddings: Embeddings::load(&packer.ends().sub("embeddings"), config)?,
            encoder: Encoder::load(&packer.sub("encoder"), config)?,
            layernorm: (!config.use_mean_pooling).then(norm).transpose()?,
            config: config.clone(),
            backend: Arc::clone(backend),
            format: packer.format(),
            dtypes: packer.dtypes(),
        })
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
        checkpoint::save_pretrained(directory, self.config(), Architecture::Model, weights, options)
    }

    /// The configuration the model was built from.
    pub fn config(&self) -> &VideoMAEConfig {
        &self.config
    }

    /// The precision of linear layers, as [`LoadOptions::format`] chose it.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// A session to run this model in.
    ///
    /// # Errors
    /// What the backend says of opening a stream.
    pub fn session(&self) -> Result<Session> {
        Session::new(Arc::clone(&self.backend))
    }

    /// Runs the model.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for anything wrong with the inputs; what the backend says otherwise.
    pub fn forward(&self, session: &mut Session, inputs: &VideoInputs<'_>) -> Result<ModelOutput> {
        let mut output = ModelOutput::default();
        self.forward_into(session, inputs, &mut output)?;
        Ok(output)
    }

    /// As [`VideoMAEModel::forward`], into an output whose memory is used again.
    ///
    /// # Errors
    /// As [`VideoMAEModel::forward`].
    pub fn forward_into(
        &self,
        session: &mut Session,
        inputs: &VideoInputs<'_>,
        output: &mut ModelOutput,
    ) -> Result<()> {
        let done = self.run(session, inputs, output);
        done.map_err(|error| {
            session.explain(error, inputs.shape[0], |plan| self.prepare_all(plan, inputs).map(drop))
        })
    }

    fn run(&self, session: &mut Session, inputs: &VideoInputs<'_>, output: &mut ModelOutput) -> Result<()> {
        inputs.refuse_labels("the bare model")?;
        let (stream, mut run) = self.prepare_all(session, inputs)?;
        let ModelOutput { last_hidden_state, hidden_states, attentions } = output;
        let mut record = Record::new(&self.config, inputs, hidden_states, attentions);
        enter(stream, |s| {
            self.encode(s, &mut run, &mut record)?;
            let last = self.last_hidden_state(s, &mut run)?;
            last_hidden_state.read(s, last)
        })
    }

    /// Checks the inputs, brings them to the backend and gives every activation its shape.
    fn prepare_all<'a>(
        &self,
        session: &'a mut Session,
        inputs: &VideoInputs<'_>,
    ) -> Result<(&'a mut dyn Stream, EncoderRun<'a>)> {
        let (dims, split) = self.check(inputs)?;
        let Session { stream, slots } = session;
        let stream = &mut **stream;
        let visible = match split {
            Some(split) => Some(&*slots.visible.write(stream, &split.visible()?)?),
            None => None,
        };
        let run = self.prepare(stream, &mut slots.encoder, inputs, dims, visible)?;
        Ok((stream, run))
    }

    /// Checks the inputs against the configuration.
    pub(crate) fn check(&self, inputs: &VideoInputs<'_>) -> Result<(ClipDims, Option<TokenSplit>)> {
        let dims = inputs.check(self.config.num_channels, self.embeddings.geometry)?;
        let split = inputs.bool_masked_pos.map(|mask| TokenSplit::of(mask, dims)).transpose()?;
        Ok((dims, split))
    }

    /// Brings the pixels to the backend and gives every activation of the encoder its shape.
    pub(crate) fn prepare<'a>(
        &self,
        stream: &mut dyn Stream,
        slots: &'a mut EncoderSlots,
        inputs: &VideoInputs<'_>,
        dims: ClipDims,
        visible: Option<&'a Tensor>,
    ) -> Result<EncoderRun<'a>> {
        let VideoMAEConfig { hidden_size, num_attention_heads, .. } = self.config;
        let ClipDims { batch, tokens, patch } = dims;
        let dtype = self.dtypes.activations;
        let seen = visible.map_or(tokens, |visible| visible.shape()[1]);
        let probabilities = match inputs.output_attentions(&self.config) {
            true => {
                Some(slots.probabilities.rows(stream, [batch, num_attention_heads, seen, seen], dtype)?)
            }
            false => None,
        };
        let PixelSlots { pixel_values, levels, table } = &mut slots.pixels;
        let (pixel_values, levels) = match inputs.pixels {
            Pixels::Values(values) => {
                (pixel_values.write_as(stream, &View::f32(inputs.shape, values)?, dtype)?, None)
            }
            Pixels::Levels { levels: bytes, table: numbers } => {
                let bytes = &*levels.write(stream, &View::u8(inputs.shape, bytes)?)?;
                let numbers = View::f32([numbers.len(), 256], numbers.as_flattened())?;
                let table = &*table.write(stream, &numbers)?;
                (pixel_values.rows(stream, inputs.shape, dtype)?, Some((bytes, table)))
            }
        };
        Ok(EncoderRun {
            pixel_values,
            levels,
            visible,
            positions: slots.positions.prepare(stream, tokens, hidden_size)?,
            patches: slots.patches.rows(stream, [batch, seen, patch], dtype)?,
            hidden: slots.hidden.rows(stream, [batch, seen, hidden_size], dtype)?,
            scratch: slots.layer.prepare(stream, &self.config, [batch, seen], self.dtypes)?,
            normed: match self.layernorm {
                Some(_) => Some(slots.normed.rows(stream, [batch, seen, hidden_size], dtype)?),
                None => None,
            },
            probabilities,
        })
    }

    /// Embeddings and all layers; `run.hidden` then holds the last layer's output, before any final norm.
    pub(crate) fn encode(
        &self,
        s: &mut dyn Stream,
        run: &mut EncoderRun<'_>,
        record: &mut Record<'_>,
    ) -> Result<()> {
        let EncoderRun {
            pixel_values,
            levels,
            visible,
            positions,
            patches,
            hidden,
            scratch,
            probabilities,
            ..
        } = run;
        if let Some((levels, table)) = *levels {
            s.normalize_levels(levels, table, pixel_values)?; // (B, T, C, H, W)
        }
        self.embeddings.forward(s, pixel_values, *visible, positions, patches, hidden)?;
        self.encoder.forward(s, hidden, scratch, probabilities.as_deref_mut(), record)
    }

    /// What the model shows of the last layer: through the final norm if there is one. `(B, S, D)`
    pub(crate) fn last_hidden_state<'a>(
        &self,
        s: &mut dyn Stream,
        run: &'a mut EncoderRun<'_>,
    ) -> Result<&'a Tensor> {
        let (Some(layernorm), Some(normed)) = (&self.layernorm, &mut run.normed) else {
            return Ok(run.hidden);
        };
        s.layer_norm((&*run.hidden).into(), layernorm, (&mut **normed).into(), None)?;
        Ok(normed)
    }
}

/// The encoder's inputs on the backend, and its activations in their shapes.
pub(crate) struct EncoderRun<'a> {
    pub pixel_values: &'a mut Tensor,
    /// What `pixel_values` is made of on the backend, and the table for it
    pub levels: Option<(&'a Tensor, &'a Tensor)>,
    pub visible: Option<&'a Tensor>,
    pub positions: &'a Tensor,
    pub patches: &'a mut Tensor,
    pub hidden: &'a mut Tensor,
    pub scratch: LayerScratch<'a>,
    /// Where the final norm writes, if there is one
    pub normed: Option<&'a mut Tensor>,
    pub probabilities: Option<&'a mut Tensor>,
}

impl fmt::Debug for VideoMAEModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config: VideoMAEConfig { num_hidden_layers, hidden_size, .. }, backend, format, .. } =
            self;
        let backend = backend.name();
        write!(f, "VideoMAEModel of {num_hidden_layers} layers of {hidden_size} in {format} on {backend}")
    }
}
