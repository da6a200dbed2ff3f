//! Training the classification model.

use kernels_backend::{BackwardStream, DType, Epilogue, Layout, Rows, RowsMut, Tensor, Write};

use super::{
    Gradients, TrainingSession,
    encoder::EncoderRun,
    gradients::{LayerNormGradient, LinearGradient, Visit},
    session::{TailGradient, foreign_session},
};
use crate::{
    Error, Result, VideoMAEForVideoClassification, checkpoint::Architecture, classification::Head,
    inputs::VideoInputs, loss::Target, session::LossSlots,
};

impl VideoMAEForVideoClassification {
    /// A session to train this model in; `seed` decides what dropouts drop.
    ///
    /// # Errors
    /// [`kernels_backend::Error::Unsupported`] where the backend only runs forward; [`Error::Input`] for a model
    /// of another precision than f32.
    pub fn training_session(&self, seed: u64) -> Result<TrainingSession> {
        TrainingSession::new(&self.videomae, Architecture::VideoClassification, seed, |s| {
            Ok(TailGradient::Classification(Box::new(HeadGradient::new(s, &self.head)?)))
        })
    }

    /// The loss of a batch, and the gradients of this batch alone.
    ///
    /// # Errors
    /// As [`VideoMAEForVideoClassification::accumulate_gradients`].
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
    /// Hidden states and attentions are not recorded here.
    ///
    /// # Errors
    /// [`Error::Input`] for anything wrong with the inputs, among them absent labels; what the backend says
    /// otherwise.
    pub fn accumulate_gradients(
        &self,
        session: &mut TrainingSession,
        inputs: &VideoInputs<'_>,
    ) -> Result<f32> {
        let (dims, split) = self.videomae.check(inputs)?;
        let shape = self.logits_shape(dims.batch);
        let Some(target) = Target::of(inputs, self.config(), shape)? else {
            return Err(Error::input("labels", "labels to train on", "none"));
        };
        let [dropouts, _] = session.next_dropouts(self.config());
        let TrainingSession { stream, encoder, tail, pixel_values, .. } = session;
        let TailGradient::Classification(gradient) = tail else { return Err(foreign_session()) };
        let s = &mut **stream;

        let mut run = EncoderRun::new(s, &self.videomae, inputs.shape, dims, split.as_ref())?;
        let mut head = HeadRun::new(s, self.config().hidden_size, shape)?;
        let mut loss_slots = LossSlots::default();
        let mut loss_run = loss_slots.prepare(s, &target, shape)?;
        run.write(s, inputs, split.as_ref())?;

        self.videomae.forward_training(s, &mut run, dropouts)?;
        self.head.forward_training(s, run.last(), &mut head)?;
        let loss = target.loss(s, &head.logits, &mut loss_run, Some(&mut head.dlogits))?;
        self.head.backward(s, &mut run, &mut head, gradient)?;
        self.videomae.backward(s, &mut run, dropouts, encoder)?;
        *pixel_values = Some(run.dpixel_values);
        Ok(loss)
    }
}

impl Head {
    /// `classifier(fc_norm(mean))` or `classifier(first)` of `last (B, S, D)`.
    fn forward_training(&self, s: &mut dyn BackwardStream, last: &Tensor, run: &mut HeadRun) -> Result<()> {
        let HeadRun { pooled, stats, normed, logits, .. } = run;
        match &self.fc_norm {
            Some(fc_norm) => {
                s.mean_tokens(last.into(), pooled)?;
                s.layer_norm((&*pooled).into(), fc_norm, (&mut *normed).into(), Some(stats))?;
            }
            None => s.cast(Rows::range(last, 0..1)?, (&mut *normed).into())?,
        }
        match &self.classifier {
            Some(classifier) => s.linear((&*normed).into(), classifier, Epilogue::none(), logits.into())?,
            None => s.cast((&*normed).into(), logits.into())?,
        }
        Ok(())
    }

    /// From the gradient by the logits to that by the encoder's last hidden state.
    fn backward(
        &self,
        s: &mut dyn BackwardStream,
        encoder: &mut EncoderRun,
        run: &mut HeadRun,
        gradient: &mut HeadGradient,
    ) -> Result<()> {
        let HeadRun { pooled, stats, normed, dlogits, dnormed, dpooled, .. } = run;
        match (&self.classifier, &mut gradient.classifier) {
            (Some(classifier), Some(gradient)) => {
                let sink = gradient.sink((&mut *dnormed).into());
                s.linear_backward((&*normed).into(), classifier, (&*dlogits).into(), sink)?;
            }
            _ => s.cast((&*dlogits).into(), (&mut *dnormed).into())?,
        }
        let (_, d) = encoder.last_and_d();
        match (&self.fc_norm, &mut gradient.fc_norm) {
            (Some(fc_norm), Some(gradient)) => {
                let sink = gradient.sink((&mut *dpooled).into(), Write::Replace);
                s.layer_norm_backward((&*pooled).into(), fc_norm, stats, (&*dnormed).into(), sink)?;
                s.mean_tokens_backward(dpooled, d.into())?;
            }
            _ => {
                // Only token 0 was looked at.
                s.zero(d)?;
                s.cast((&*dnormed).into(), RowsMut::range(d, 0..1)?)?;
            }
        }
        Ok(())
    }
}

/// What the head keeps from its forward, and the gradients on its way back.
struct HeadRun {
    /// `(B, D)`
    pooled: Tensor,
    /// `(B, 2)`
    stats: Tensor,
    /// `(B, D)`
    normed: Tensor,
    /// `(B, K)`
    logits: Tensor,
    /// `(B, K)`
    dlogits: Tensor,
    /// `(B, D)`
    dnormed: Tensor,
    /// `(B, D)`
    dpooled: Tensor,
}

impl HeadRun {
    fn new(s: &mut dyn BackwardStream, hidden_size: usize, [batch, width]: [usize; 2]) -> Result<Self> {
        let mut rows = |width| s.alloc([batch, width].into(), DType::F32, Layout::Rows);
        Ok(Self {
            pooled: rows(hidden_size)?,
            stats: rows(2)?,
            normed: rows(hidden_size)?,
            logits: rows(width)?,
            dlogits: rows(width)?,
            dnormed: rows(hidden_size)?,
            dpooled: rows(hidden_size)?,
        })
    }
}

/// The gradients of the head's parameters.
pub(super) struct HeadGradient {
    fc_norm: Option<LayerNormGradient>,
    classifier: Option<LinearGradient>,
}

impl HeadGradient {
    fn new(s: &mut dyn BackwardStream, head: &Head) -> Result<Self> {
        let fc_norm = match &head.fc_norm {
            Some(norm) => Some(LayerNormGradient::new(s, norm)?),
            None => None,
        };
        let classifier = match &head.classifier {
            Some(classifier) => Some(LinearGradient::new(s, classifier, true)?),
            None => None,
        };
        Ok(Self { fc_norm, classifier })
    }

    pub(super) fn visit(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        if let Some(fc_norm) = &mut self.fc_norm {
            fc_norm.visit("fc_norm", visit)?;
        }
        self.classifier.as_mut().map_or(Ok(()), |classifier| classifier.visit("classifier", visit))
    }
}
