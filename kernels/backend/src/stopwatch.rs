//! How long each op of a run takes.
//!
//! ```
//! # use std::sync::Arc;
//! use kernels_backend::{Backend, intercept::Intercepted, recording::Recording, stopwatch::Stopwatch};
//!
//! # let backend: Arc<dyn Backend> = Arc::new(Recording::default());
//! let stopwatch = Arc::new(Stopwatch::default());
//! let timed = Intercepted::around(backend, Arc::<Stopwatch>::clone(&stopwatch));
//! // Build a model on `timed` and run it.
//! for op in stopwatch.take() {
//!     println!("{} {}: {:?}", op.call.op, op.call.shape, op.elapsed);
//! }
//! ```

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::intercept::{Call, Intercept};

/// An op that ran.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// Which, and on what.
    pub call: Call,
    /// From its door to its end. On a device that runs ops later, the time to give it the op.
    pub elapsed: Duration,
}

/// An [`Intercept`] that keeps the time of every op.
#[derive(Debug, Default)]
pub struct Stopwatch {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    started: Option<Instant>,
    ops: Vec<Timed>,
}

impl Stopwatch {
    /// The ops since the last call, in order.
    pub fn take(&self) -> Vec<Timed> {
        std::mem::take(&mut self.state().ops)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Stopwatch {
    fn before(&self, _: &Call) {
        self.state().started = Some(Instant::now());
    }

    fn after(&self, call: &Call) {
        let now = Instant::now();
        let mut state = self.state();
        let elapsed = state.started.take().map_or(Duration::ZERO, |started| now - started);
        state.ops.push(Timed { call: *call, elapsed });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{DType, Layout, Rows, intercept::Intercepted, recording::Recording};

    #[test]
    fn every_op_is_timed_once_inside_and_outside_of_the_pool() {
        let stopwatch = Arc::new(Stopwatch::default());
        let backend =
            Intercepted::around(Arc::new(Recording::default()), Arc::<Stopwatch>::clone(&stopwatch));
        let mut stream = Arc::clone(&backend).stream().unwrap();
        let x = stream.alloc([2, 3, 5].into(), DType::F32, Layout::Rows).unwrap();
        let mut y = stream.alloc([2, 5].into(), DType::F32, Layout::Rows).unwrap();
        stream.mean_tokens(Rows::from(&x), &mut y).unwrap();
        crate::enter(&mut *stream, |s| s.mean_tokens(Rows::from(&x), &mut y)).unwrap();
        let ops = stopwatch.take();
        assert_eq!(ops.len(), 2);
        for op in ops {
            assert_eq!((op.call.op, op.call.shape), ("mean_tokens", [6, 5].into()));
        }
        assert!(stopwatch.take().is_empty());
    }
}
