//! `cross_entropy_loss`: `−ln softmax(logits)[label]`, averaged over the labels that count.

use bytemuck::NoUninit;
use kernels_backend::{Error, Result, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    memory::Address,
    storage::{self, int, type_code},
};

/// `CrossEntropyLoss` of cross_entropy_loss.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct CrossEntropyLoss {
    logits: Address,
    labels: Address,
    loss: Address,
    /// Zero for none.
    gradient: Address,
    logits_type: i32,
    loss_type: i32,
    gradient_type: i32,
    batch: i32,
    classes: i32,
    items: f32,
}

const CROSS_ENTROPY_LOSS: Kernel<CrossEntropyLoss> = Kernel::new("cross_entropy_loss", "cross_entropy_loss");

/// Labels of this value do not count.
const IGNORED: i32 = -100;

/// Cross entropy of logits and class indices.
pub(crate) fn cross_entropy_loss(
    ctx: &Context<'_>,
    logits: &Tensor,
    labels: &Tensor,
    num_items: Option<f32>,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "cross_entropy_loss";
    let (batch, classes) = check::cross_entropy_loss(logits, labels, loss, gradient.as_deref())?;
    let (labels, values) = storage::integers(OP, "labels", labels, ctx.device)?;
    let counts = |label: i32| usize::try_from(label).is_ok_and(|class| class < classes);
    if let Some(&label) = values.iter().find(|&&label| label != IGNORED && !counts(label)) {
        return Err(Error::Index { op: OP, index: label.into(), bound: classes });
    }
    let counted = values.iter().filter(|&&label| label != IGNORED).count();
    let address =
        |tensor: &Tensor| storage::rows(OP, "operand", &tensor.into(), ctx.device).map(|rows| rows.data);
    let parameters = CrossEntropyLoss {
        logits: address(logits)?,
        labels,
        loss: address(loss)?,
        gradient: gradient.as_deref().map_or(Ok(0), address)?,
        logits_type: type_code(OP, "logits", logits.dtype())?,
        loss_type: type_code(OP, "loss", loss.dtype())?,
        gradient_type: gradient
            .as_deref()
            .map_or(Ok(0), |gradient| type_code(OP, "gradient", gradient.dtype()))?,
        batch: int(OP, batch)?,
        classes: int(OP, classes)?,
        items: num_items.unwrap_or(counted as f32),
    };
    // SAFETY: labels that count were checked against the classes; the gradient has the shape of the logits.
    unsafe { ctx.launch(&CROSS_ENTROPY_LOSS, Grid::of_blocks([1, 1, 1], 256), &parameters) }
}
