//! The three classification losses and their gradients, at ordinary and at extreme logits.

use std::sync::Arc;

use kernels::{Backend, DType, Layout, Result, Stream, Tensor, View};

use super::{Run, filled, unwritten, values};

pub(super) fn compare(run: &mut Run, backend: &Arc<dyn Backend>) -> Result<()> {
    let mut s = Arc::clone(backend).stream()?;
    for label in ["ordinary", "extreme"] {
        for problem in ["single_label_classification", "multi_label_classification", "regression"] {
            let logits = run.inputs.get(&format!("{label}.logits"));
            let [batch, classes] = *logits.shape.as_slice() else { panic!("logits have two dimensions") };
            let (shape, logits) = ([batch, classes], logits.floats());
            let x = filled(&mut *s, shape, logits)?;
            let (mut loss, mut gradient) = (unwritten(&mut *s, [1])?, unwritten(&mut *s, shape)?);
            let labels = labels(&mut *s, run, problem, shape)?;
            let wanted = Some(&mut gradient);
            match problem {
                "regression" => s.mse_loss(&x, &labels, &mut loss, wanted)?,
                "multi_label_classification" => s.bce_with_logits_loss(&x, &labels, &mut loss, wanted)?,
                _ => s.cross_entropy_loss(&x, &labels, None, &mut loss, wanted)?,
            }
            let (loss, gradient) = (values(&mut *s, &loss)?, values(&mut *s, &gradient)?);
            let prefix = format!("{label}.{problem}");
            run.compare(&format!("{prefix}.loss"), batch * classes, 0.0, &loss);
            run.compare(&format!("{prefix}.gradient"), classes, 0.0, &gradient);
        }
    }
    Ok(())
}

fn labels(s: &mut dyn Stream, run: &Run, problem: &str, shape: [usize; 2]) -> Result<Tensor> {
    match problem {
        "regression" => filled(s, shape, run.inputs.get("numbers").floats()),
        "multi_label_classification" => filled(s, shape, run.inputs.get("several").floats()),
        _ => {
            let classes = run.inputs.get("classes").integers();
            let classes: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
            let mut labels = s.alloc([shape[0]].into(), DType::I32, Layout::Rows)?;
            s.write(&View::i32([shape[0]], &classes)?, &mut labels)?;
            Ok(labels)
        }
    }
}
