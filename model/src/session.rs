//! What a forward pass writes to: every activation has a slot, and a slot is allocated once.
//!
//! A model holds weights only, so one model serves many sessions at a time. A [`Session`] holds a stream and the
//! activations. The first forward of a shape allocates; the next one of the same or a smaller shape allocates
//! nothing.

use std::sync::Arc;

use kernels_backend::{Backend, DType, Layout, Shape, Stream, Tensor, View};

use crate::{Result, layer::LayerSlots, positions::sinusoid_table};

/// A stream and the activations of one forward pass at a time.
///
/// Made by the `session` method of a model. It belongs to a backend, not to a model: two models on one backend
/// may take turns in it, which shares the memory between them.
pub struct Session {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) slots: Slots,
}

impl Session {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Result<Self> {
        Ok(Self { stream: backend.stream()?, slots: Slots::default() })
    }

    /// The name of the backend that runs the ops.
    pub fn backend_name(&self) -> &str {
        self.stream.backend_name()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session on {}", self.backend_name())
    }
}

/// Every activation of the three models, with its shape. Those made of floats have the element type that the backend
/// wants of activations, or of what only linear layers read; but position tables, labels that were given as numbers, and
/// the loss are f32. B clips, N tokens, of which the encoder sees S (all, or the V visible ones) and the decoder predicts
/// M; P elements a patch.
///
/// One clip of the base model (S = 1568, D = 768) takes 63 MB here: pixels 10, patches 10, and 43 in the hidden
/// states and the scratch of a layer, which all layers share. It grows with the batch.
#[derive(Default)]
pub(crate) struct Slots {
    /// `(B, V)`, the tokens the encoder sees, ascending
    pub visible: Slot,
    /// `(B, M)`, the tokens the decoder predicts, ascending
    pub masked: Slot,
    pub encoder: EncoderSlots,
    pub decoder: DecoderSlots,
    pub head: HeadSlots,
    pub loss: LossSlots,
}

impl Slots {
    /// The tensors there are, in the order in which they are prepared, and whether each grows with the batch.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&Tensor, bool)> {
        let Self { visible, masked, encoder, decoder, head, loss } = self;
        let EncoderSlots { pixels, positions, patches, hidden, layer, normed: last, probabilities } = encoder;
        let PixelSlots { pixel_values, levels, table } = pixels;
        let DecoderSlots { positions: all_positions, hidden: all_hidden, layer: decoder_layer } = decoder;
        let HeadSlots { pooled, normed, logits } = head;
        let LossSlots { labels, loss } = loss;
        let grown = |slot| (slot, true);
        let fixed = |slot| (slot, false);
        let slots = [visible, masked, probabilities, levels].map(grown).into_iter();
        let slots = slots.chain([fixed(table), grown(pixel_values), fixed(&positions.slot)]);
        let slots = slots.chain([patches, hidden].map(grown)).chain(layer.slots().map(grown));
        let slots = slots.chain([grown(last), fixed(&all_positions.slot), grown(all_hidden)]);
        let slots = slots.chain(decoder_layer.slots().map(grown));
        let slots = slots.chain([pooled, normed, logits, labels].map(grown)).chain([fixed(loss)]);
        slots.filter_map(|(slot, grows)| Some((slot.0.as_ref()?, grows)))
    }
}

/// What the encoder reads and writes.
#[derive(Default)]
pub(crate) struct EncoderSlots {
    pub pixels: PixelSlots,
    /// `(N, D)`
    pub positions: PositionSlot,
    /// `(B, S, P)`
    pub patches: Slot,
    /// `(B, S, D)`
    pub hidden: Slot,
    pub layer: LayerSlots,
    /// `(B, S, D)`, only of models with a final norm
    pub normed: Slot,
    /// `(B, h, S, S)`, only when attentions are asked for
    pub probabilities: Slot,
}

/// The pixels, as they come and as the model takes them.
#[derive(Default)]
pub(crate) struct PixelSlots {
    /// `(B, T, C, H, W)`
    pub pixel_values: Slot,
    /// `(B, T, C, H, W)` in bytes, only of inputs that are levels
    pub levels: Slot,
    /// `(C, 256)`, likewise
    pub table: Slot,
}

/// What the pre-training decoder reads and writes.
#[derive(Default)]
pub(crate) struct DecoderSlots {
    /// `(N, Dd)`
    pub positions: PositionSlot,
    /// `(B, N, Dd)`: V visible tokens, then M masked ones
    pub hidden: Slot,
    pub layer: LayerSlots,
}

/// What a head writes.
#[derive(Default)]
pub(crate) struct HeadSlots {
    /// `(B, D)`
    pub pooled: Slot,
    /// `(B, D)`
    pub normed: Slot,
    /// `(B, K)`, or `(B, M, P)` of pre-training
    pub logits: Slot,
}

/// What a loss reads and writes.
#[derive(Default)]
pub(crate) struct LossSlots {
    /// `(B)` class indices, `(B, K)`, or `(B, M, P)` of pre-training
    pub labels: Slot,
    /// `(1)`
    pub loss: Slot,
}

/// Memory for one tensor, kept from run to run.
#[derive(Default)]
pub(crate) struct Slot(Option<Tensor>);

impl Slot {
    /// The slot's tensor under `shape`; contents undefined. Allocates only when what it has does not fit.
    pub(crate) fn prepare(
        &mut self,
        stream: &mut dyn Stream,
        shape: impl Into<Shape>,
        dtype: DType,
        layout: Layout,
    ) -> Result<&mut Tensor> {
        let shape = shape.into();
        let kept = match self.0.take() {
            Some(mut tensor) if tensor.dtype() == dtype && tensor.layout() == layout => {
                let fits = *tensor.shape() == shape || stream.resize(&mut tensor, shape).is_ok();
                fits.then_some(tensor)
            }
            // Dropped before its successor is allocated, so that both never exist at once.
            _ => None,
        };
        let tensor = match kept {
            Some(tensor) => tensor,
            None => stream.alloc(shape, dtype, layout)?,
        };
        Ok(self.0.insert(tensor))
    }

    /// [`Slot::prepare`] for the common case.
    pub(crate) fn rows(
        &mut self,
        stream: &mut dyn Stream,
        shape: impl Into<Shape>,
        dtype: DType,
    ) -> Result<&mut Tensor> {
        self.prepare(stream, shape, dtype, Layout::Rows)
    }

    /// The slot's tensor with the elements of `data`, in the type they have.
    pub(crate) fn write(&mut self, stream: &mut dyn Stream, data: &View<'_>) -> Result<&mut Tensor> {
        self.write_as(stream, data, data.dtype())
    }

    /// The slot's tensor with the elements of `data`, rounded to `dtype`.
    pub(crate) fn write_as(
        &mut self,
        stream: &mut dyn Stream,
        data: &View<'_>,
        dtype: DType,
    ) -> Result<&mut Tensor> {
        let tensor = self.rows(stream, *data.shape(), dtype)?;
        stream.write(data, tensor)?;
        Ok(tensor)
    }
}

/// A position table, computed again only when its shape changes. It is kept in f32 under every precision: an op
/// that copies it to hidden states rounds it to their type.
#[derive(Default)]
pub(crate) struct PositionSlot {
    slot: Slot,
    /// The shape whose table the slot holds; `None` until the table has been written whole.
    holds: Option<(usize, usize)>,
}

impl PositionSlot {
    /// The table `(num_positions, hidden_size)`.
    pub(crate) fn prepare(
        &mut self,
        stream: &mut dyn Stream,
        num_positions: usize,
        hidden_size: usize,
    ) -> Result<&Tensor> {
        let shape = (num_positions, hidden_size);
        if self.holds != Some(shape) {
            self.holds = None;
            let table = sinusoid_table(num_positions, hidden_size);
            self.slot.write(stream, &View::f32([num_positions, hidden_size], &table)?)?;
            self.holds = Some(shape);
        }
        self.slot.rows(stream, [num_positions, hidden_size], DType::F32).map(|table| &*table)
    }
}
