//! The threads of a backend, and how work is given to them.

use std::{
    marker::PhantomData,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A fixed number of threads. Which of them does what never influences a result: a task is a fixed piece of
/// the output, and is computed the same way whoever takes it.
pub(crate) struct Threads {
    /// `None` for one thread, which is the caller's.
    pool: Option<ThreadPool>,
    count: usize,
}

impl Threads {
    /// `count` threads; `None` is `RAYON_NUM_THREADS`, else one for each core.
    pub(crate) fn new(count: Option<usize>) -> Result<Self, String> {
        let count = count.unwrap_or_else(default_count);
        if count == 0 {
            return Err("expected at least one thread, found 0".to_owned());
        }
        if count == 1 {
            return Ok(Self { pool: None, count });
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("kernels-cpu-{i}"))
            .build()
            .map_err(|error| format!("cannot start {count} threads: {error}"))?;
        // Waits until all of them run: what a thread allocates as it starts would else fall into a forward.
        pool.broadcast(|_| ());
        Ok(Self { pool: Some(pool), count })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `body` on one of the threads; at once if the caller is one.
    pub(crate) fn enter<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) if pool.current_thread_index().is_none() => pool.install(body),
            _ => body(),
        }
    }

    /// Runs tasks `0..tasks`, in no particular order. Each thread takes the next task when it is done with
    /// one, so that a thread that the system delays does less.
    pub(crate) fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.for_each_with(&mut vec![(); self.count], tasks, |(), i| task(i));
    }

    /// As [`Threads::for_each`]; each thread has one of the `slots` to itself.
    pub(crate) fn for_each_with<T: Send>(
        &self,
        slots: &mut [T],
        tasks: usize,
        task: impl Fn(&mut T, usize) + Sync,
    ) {
        let workers = slots.len().min(self.count).min(tasks);
        if workers <= 1 {
            if let Some(slot) = slots.first_mut() {
                (0..tasks).for_each(|i| task(slot, i));
            }
            return;
        }
        let next = AtomicUsize::new(0);
        let work = |slot: &mut T| {
            while let i = next.fetch_add(1, Relaxed)
                && i < tasks
            {
                task(slot, i);
            }
        };
        self.enter(|| fork(&mut slots[..workers], &work));
    }

    /// Cuts `data` into pieces of `chunk` numbers (the last may be shorter) and calls `task(index, piece)`.
    pub(crate) fn for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let len = data.len();
        let parts = Parts::new(data);
        self.for_each(len.div_ceil(chunk), |i| {
            // SAFETY: each index is given out once, and the ranges of two indices do not overlap.
            task(i, unsafe { parts.part(i * chunk..len.min((i + 1) * chunk)) });
        });
    }
}

/// Runs `work` on every slot, each as a job that another thread may take.
fn fork<T: Send>(slots: &mut [T], work: &(impl Fn(&mut T) + Sync)) {
    match slots {
        [] => {}
        [slot] => work(slot),
        _ => {
            let (left, right) = slots.split_at_mut(slots.len() / 2);
            rayon::join(|| fork(left, work), || fork(right, work));
        }
    }
}

fn default_count() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    asked.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1)
}

/// A slice of which tasks write parts that do not overlap.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, which may be sent to a thread if `T` may.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: sharing it gives out disjoint `&mut [T]` only, by the contract of `part`.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Takes the slice over for as long as it is borrowed.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// One part.
    ///
    /// # Safety
    /// - No two parts that are alive at the same time overlap.
    ///
    /// # Panics
    /// When the range leaves the slice.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the parts do not overlap, by the contract")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part lies within its slice");
        // SAFETY: the range is within the slice, and by the contract nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_inside_and_outside_of_the_pool() {
        for count in [1, 2, 3] {
            let threads = Threads::new(Some(count)).unwrap();
            for tasks in [0, 1, 2, 5, 100] {
                let runs: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                threads.for_each(tasks, |i| _ = runs[i].fetch_add(1, Relaxed));
                threads.enter(|| threads.for_each(tasks, |i| _ = runs[i].fetch_add(1, Relaxed)));
                assert!(runs.iter().all(|n| n.load(Relaxed) == 2), "{count} threads, {tasks} tasks");
            }
        }
    }

    #[test]
    fn zero_threads_are_refused() {
        assert!(Threads::new(Some(0)).is_err());
    }

    #[test]
    fn chunks_cover_a_slice_once() {
        let threads = Threads::new(Some(2)).unwrap();
        let mut data = [0; 23];
        threads.for_each_chunk(&mut data, 5, |i, chunk| chunk.iter_mut().for_each(|x| *x += i + 1));
        assert_eq!((data[0], data[4], data[5], data[22]), (1, 1, 2, 5));
    }
}
