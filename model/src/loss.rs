//! What a classification head is trained on.

use kernels_backend::{DType, Shape, Stream, Tensor, View};

use crate::{Error, Labels, ProblemType, Result, VideoInputs, VideoMAEConfig, session::LossSlots};

/// A label that takes its clip out of the cross entropy.
const IGNORED: i64 = -100;

/// Labels, checked and in the form their loss takes.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// Mean squared error against `(B, K)`.
    Regression(Vec<f32>),
    /// Cross entropy against class indices `(B)`.
    SingleLabel {
        classes: Vec<i32>,
        /// Divides the sum, if given.
        num_items: Option<f32>,
    },
    /// Binary cross entropy against `(B, K)`.
    MultiLabel(Vec<f32>),
}

impl Target {
    /// The loss for the labels at hand, if there are any. K is the width of the logits.
    ///
    /// Where the configuration names no problem it is inferred, each time anew: one label is a regression,
    /// integers are classes, anything else is multi-label. (The reference writes its first guess into the
    /// configuration, where a later batch of another kind meets it.)
    pub(crate) fn of(
        inputs: &VideoInputs<'_>,
        config: &VideoMAEConfig,
        [batch, width]: [usize; 2],
    ) -> Result<Option<Self>> {
        let Some(labels) = inputs.labels else {
            return match inputs.num_items_in_batch {
                None => Ok(None),
                Some(_) => Err(Error::input("num_items_in_batch", "labels beside it", "none")),
            };
        };
        let problem = config.problem_type.unwrap_or(match (config.num_labels(), labels) {
            (1, _) => ProblemType::Regression,
            (2.., Labels::Classes(_)) => ProblemType::SingleLabelClassification,
            _ => ProblemType::MultiLabelClassification,
        });
        let num_items = inputs.num_items_in_batch;
        if let Some(items) = num_items
            && (problem != ProblemType::SingleLabelClassification || !(items > 0.0 && items.is_finite()))
        {
            let expected = "a positive number, and a single-label classification";
            return Err(Error::input("num_items_in_batch", expected, format!("{items}, {}", problem.name())));
        }
        Ok(Some(match (problem, labels) {
            (ProblemType::Regression, Labels::Classes(classes)) => {
                check_count(classes.len(), Shape::from([batch, width]))?;
                Self::Regression(classes.iter().map(|&class| class as f32).collect())
            }
            (ProblemType::Regression, Labels::Values(values)) => {
                check_count(values.len(), Shape::from([batch, width]))?;
                Self::Regression(values.to_vec())
            }
            (ProblemType::SingleLabelClassification, Labels::Classes(classes)) => {
                check_count(classes.len(), Shape::from([batch]))?;
                Self::SingleLabel { classes: class_indices(classes, config.num_labels())?, num_items }
            }
            (ProblemType::MultiLabelClassification, Labels::Values(values)) => {
                check_count(values.len(), Shape::from([batch, width]))?;
                Self::MultiLabel(values.to_vec())
            }
            (ProblemType::SingleLabelClassification, Labels::Values(_)) => {
                return Err(Error::input("labels", "class indices for a single-label problem", "values"));
            }
            (ProblemType::MultiLabelClassification, Labels::Classes(_)) => {
                return Err(Error::input("labels", "values for a multi-label problem", "class indices"));
            }
        }))
    }

    /// The mean loss of `logits (B, K)`; its gradient goes to `gradient`, if asked for.
    pub(crate) fn loss(
        &self,
        s: &mut dyn Stream,
        logits: &Tensor,
        run: &mut LossRun<'_>,
        gradient: Option<&mut Tensor>,
    ) -> Result<f32> {
        let LossRun { labels, loss } = run;
        match self {
            Self::Regression(_) => s.mse_loss(logits, labels, loss, gradient)?,
            Self::SingleLabel { num_items, .. } => {
                s.cross_entropy_loss(logits, labels, *num_items, loss, gradient)?;
            }
            Self::MultiLabel(_) => s.bce_with_logits_loss(logits, labels, loss, gradient)?,
        }
        run.read(s)
    }
}

/// Labels on the backend, and where the loss goes.
pub(crate) struct LossRun<'a> {
    pub labels: &'a mut Tensor,
    pub loss: &'a mut Tensor,
}

impl LossRun<'_> {
    /// The loss, after its op.
    pub(crate) fn read(&self, s: &mut dyn Stream) -> Result<f32> {
        let mut loss = [0.0];
        s.read(self.loss, &mut loss)?;
        Ok(loss[0])
    }
}

impl LossSlots {
    /// Brings the labels of logits of `shape` to the backend.
    pub(crate) fn prepare(
        &mut self,
        stream: &mut dyn Stream,
        target: &Target,
        shape: [usize; 2],
    ) -> Result<LossRun<'_>> {
        let labels = match target {
            Target::Regression(values) | Target::MultiLabel(values) => View::f32(shape, values)?,
            Target::SingleLabel { classes, .. } => View::i32([shape[0]], classes)?,
        };
        Ok(LossRun {
            labels: self.labels.write(stream, &labels)?,
            loss: self.loss.rows(stream, [1], DType::F32)?,
        })
    }
}

fn check_count(found: usize, shape: Shape) -> Result<()> {
    if found == shape.elements() {
        return Ok(());
    }
    Err(Error::input("labels", format!("the values of shape {shape}"), format!("{found} values")))
}

fn class_indices(classes: &[i64], num_labels: usize) -> Result<Vec<i32>> {
    let index = |(row, &class): (usize, &i64)| {
        let known = class == IGNORED || usize::try_from(class).is_ok_and(|class| class < num_labels);
        match i32::try_from(class) {
            Ok(index) if known => Ok(index),
            _ => Err(Error::input(
                "labels",
                format!("a class in 0..{num_labels}, or {IGNORED} to leave a clip out"),
                format!("{class} in row {row}"),
            )),
        }
    };
    classes.iter().enumerate().map(index).collect()
}
