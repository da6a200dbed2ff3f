//! `dropout`: in place, forward and backward alike.

use kernels_backend::{Dropout, Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn dropout(x: &mut Tensor, dropout: Dropout) -> Result<()> {
    const OP: &str = "dropout";
    check::dropout(OP, dropout)?;
    let mut x = storage::floats_mut(OP, "x", x)?;
    for i in 0..x.elements.len() {
        x.store(i, Write::Replace, f64::from(x.elements[i]) * f64::from(dropout.factor(i as u64)));
    }
    Ok(())
}
