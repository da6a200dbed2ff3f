//! The encoder with a classification head.

use std::{path::Path, sync::Arc};

use kernels_backend::{
    Backend, DType, Epilogue, LayerNorm, Linear, Rows, Stream, Tensor, WeightFormat, enter,
};

use crate::{
    Result, VideoMAEConfig, VideoMAEModel,
    checkpoint::{
        self, Architecture, Checkpoint, LoadOptions, LoadReport, SaveOptions, WeightLoader, WeightSource,
    },
    inputs::VideoInputs,
    loss::{LossRun, Target},
    model::EncoderRun,
    outputs::{HostTensor, Record},
    packer::Packer,
    session::{HeadSlots, Session},
};

/// Clips in, one score per class out (`VideoMAEForVideoClassification`).
///
/// The configuration's `use_mean_pooling` says what the head sees: the mean over all tokens through `fc_norm`, or
/// token 0 through `layernorm`. Token 0 is the top-left patch of the first frames: no VideoMAE has a class token,
/// whatever model cards say, so a fine-tuning that starts from a pre-training checkpoint should turn mean
/// pooling on.
#[derive(Debug)]
pub struct VideoMAEForVideoClassification {
    pub(crate) videomae: VideoMAEModel,
    pub(crate) head: Head,
}

/// What comes after the last layer.
#[derive(Debug)]
pub(crate) struct Head {
    /// Of mean-pooling models, with the library's epsilon; the others have `layernorm` in the encoder
    pub fc_norm: Option<LayerNorm>,
    /// `None` for zero labels: the logits are then the pooled vector itself
    pub classifier: Option<Linear>,
}

/// What [`VideoMAEForVideoClassification`] returns.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ClassificationOutput {
    /// The mean loss, where labels were given.
    pub loss: Option<f32>,
    /// `(B, num_labels)` before any softmax; `(B, D)` for a model of zero labels.
    pub logits: HostTensor,
    /// As [`crate::ModelOutput::hidden_states`].
    pub hidden_states: Vec<HostTensor>,
    /// As [`crate::ModelOutput::attentions`].
    pub attentions: Vec<HostTensor>,
}

impl VideoMAEForVideoClassification {
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
        let loader = WeightLoader::new(source, &config, Architecture::VideoClassification, *options)?;
        let packer = Packer::new(loader.root(), &*backend, options.format);
        let head = Head::load(&packer.ends(), &config)?;
        let videomae = VideoMAEModel::load(&packer, &config, &backend)?;
        Ok((Self { videomae, head }, loader.finish()?))
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
        checkpoint::save_pretrained(
            directory,
            self.config(),
            Architecture::VideoClassification,
            weights,
            options,
        )
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

    /// Runs the model; with labels also its loss. With a mask, the head sees the visible tokens only.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for anything wrong with the inputs; what the backend says otherwise.
    pub fn forward(&self, session: &mut Session, inputs: &VideoInputs<'_>) -> Result<ClassificationOutput> {
        let mut output = ClassificationOutput::default();
        self.forward_into(session, inputs, &mut output)?;
        Ok(output)
    }

    /// As [`VideoMAEForVideoClassification::forward`], into an output whose memory is used again.
    ///
    /// # Errors
    /// As [`VideoMAEForVideoClassification::forward`].
    pub fn forward_into(
        &self,
        session: &mut Session,
        inputs: &VideoInputs<'_>,
        output: &mut ClassificationOutput,
    ) -> Result<()> {
        let done = self.run(session, inputs, output);
        done.map_err(|error| {
            session.explain(error, inputs.shape[0], |plan| self.prepare(plan, inputs).map(drop))
        })
    }

    fn run(
        &self,
        session: &mut Session,
        inputs: &VideoInputs<'_>,
        output: &mut ClassificationOutput,
    ) -> Result<()> {
        let ClassificationRun { stream, encoder: mut run, mut head, loss: mut loss_run } =
            self.prepare(session, inputs)?;
        let ClassificationOutput { loss, logits, hidden_states, attentions } = output;
        let mut record = Record::new(self.config(), inputs, hidden_states, attentions);
        enter(stream, |s| {
            self.videomae.encode(s, &mut run, &mut record)?;
            let last = self.videomae.last_hidden_state(s, &mut run)?; // (B, S, D)
            self.head.forward(s, last, &mut head)?; // (B, K)
            logits.read(s, head.logits)?;
            *loss = match &mut loss_run {
                Some((target, run)) => Some(target.loss(s, head.logits, run, None)?),
                None => None,
            };
            Ok(())
        })
    }

    /// Checks the inputs, brings them to the backend and gives every activation its shape.
    fn prepare<'a>(
        &self,
        session: &'a mut Session,
        inputs: &VideoInputs<'_>,
    ) -> Result<ClassificationRun<'a>> {
        let (dims, split) = self.videomae.check(inputs)?;
        let shape = self.logits_shape(dims.batch);
        let target = Target::of(inputs, self.config(), shape)?;
        let Session { stream, slots } = session;
        let stream = &mut **stream;
        let visible = match &split {
            Some(split) => Some(&*slots.visible.write(stream, &split.visible()?)?),
            None => None,
        };
        let encoder = self.videomae.prepare(stream, &mut slots.encoder, inputs, dims, visible)?;
        let (width, dtype) = (self.config().hidden_size, self.videomae.dtypes.activations);
        let head = HeadRun::prepare(stream, &mut slots.head, width, shape, dtype)?;
        let loss = match target {
            Some(target) => {
                let run = slots.loss.prepare(stream, &target, shape)?;
                Some((target, run))
            }
            None => None,
        };
        Ok(ClassificationRun { stream, encoder, head, loss })
    }

    /// `[B, K]`
    pub(crate) fn logits_shape(&self, batch: usize) -> [usize; 2] {
        let width = self.head.classifier.as_ref().map_or(self.config().hidden_size, Linear::out_features);
        [batch, width]
    }
}

impl Head {
    fn load(packer: &Packer<'_>, config: &VideoMAEConfig) -> Result<Self> {
        let (width, num_labels) = (config.hidden_size, config.num_labels());
        let norm = || packer.layer_norm("fc_norm", width, VideoMAEConfig::HEAD_NORM_EPS);
        Ok(Self {
            fc_norm: config.use_mean_pooling.then(norm).transpose()?,
            classifier: (num_labels > 0)
                .then(|| packer.linear("classifier", num_labels, width))
                .transpose()?,
        })
    }

    /// `classifier(fc_norm(mean))` or `classifier(first)` of `last (B, S, D)`.
    fn forward(&self, s: &mut dyn Stream, last: &Tensor, run: &mut HeadRun<'_>) -> Result<()> {
        let HeadRun { pooled, normed, logits } = run;
        match &self.fc_norm {
            Some(fc_norm) => {
                s.mean_tokens(last.into(), pooled)?; // (B, D)
                s.layer_norm((&**pooled).into(), fc_norm, (&mut **normed).into(), None)?; // (B, D)
            }
            None => s.cast(Rows::range(last, 0..1)?, (&mut **normed).into())?, // (B, D)
        }
        let (normed, logits) = ((&**normed).into(), (&mut **logits).into());
        match &self.classifier {
            Some(classifier) => s.linear(normed, classifier, Epilogue::none(), logits)?, // (B, K)
            None => s.cast(normed, logits)?,                                             // (B, D)
        }
        Ok(())
    }
}

/// A forward pass that is ready to run.
struct ClassificationRun<'a> {
    stream: &'a mut dyn Stream,
    encoder: EncoderRun<'a>,
    head: HeadRun<'a>,
    loss: Option<(Target, LossRun<'a>)>,
}

/// The head's activations in their shapes.
struct HeadRun<'a> {
    pooled: &'a mut Tensor,
    normed: &'a mut Tensor,
    logits: &'a mut Tensor,
}

impl<'a> HeadRun<'a> {
    fn prepare(
        stream: &mut dyn Stream,
        slots: &'a mut HeadSlots,
        hidden_size: usize,
        [batch, width]: [usize; 2],
        dtype: DType,
    ) -> Result<Self> {
        Ok(Self {
            pooled: slots.pooled.rows(stream, [batch, hidden_size], dtype)?,
            normed: slots.normed.rows(stream, [batch, hidden_size], dtype)?,
            logits: slots.logits.rows(stream, [batch, width], dtype)?,
        })
    }
}
