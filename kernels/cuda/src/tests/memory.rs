//! The pool: what the driver is asked for, and when the device is waited for.

use kernels_backend::enter;
use kernels_cuda_stand_in::calls;

use super::*;
use crate::{backend::CudaBackend, device::Device};

const ASKED: [&str; 3] = ["cuMemAlloc_v2", "cuMemFree_v2", "cuCtxSynchronize"];

/// A backend whose chunks are as large as they are to users, or at least larger than what these tests ask for.
fn backend() -> Arc<dyn Backend> {
    LazyLock::force(&CUDA);
    let device = Device::open(0, Kernels::default()).unwrap();
    device.pool().set_chunk(1 << 20);
    CudaBackend::new(device).unwrap()
}

/// What `body` asks of the driver; nobody counts on a real device.
#[track_caller]
fn assert_asks(expected: [u64; 3], body: impl FnOnce()) {
    let found = calls(ASKED, body);
    assert!(CUDA.0 == Driver::Real || found == expected, "{found:?} is not {expected:?}");
}

#[test]
fn tensors_share_a_chunk_and_only_using_memory_again_waits_for_the_device() {
    let backend = backend();
    let mut stream = Arc::clone(&backend).stream().unwrap();
    let mut alloc = |count: usize| stream.alloc([count].into(), DType::F32, Layout::Rows).unwrap();
    let mut tensors = Vec::new();
    // The chunk is there: the sums of losses lie in it.
    assert_asks([0, 0, 0], || tensors.extend((0..100).map(|_| alloc(1000))));
    assert_asks([0, 0, 0], || tensors.clear());
    assert_asks([0, 0, 1], || tensors.extend((0..100).map(|_| alloc(1000))));
    // One that is larger than a chunk has its own, which goes back with it.
    assert_asks([1, 0, 0], || tensors.push(alloc(1 << 20)));
    assert_asks([0, 1, 1], || drop(tensors.pop()));
}

#[test]
fn an_empty_chunk_is_kept_for_the_next_tensor_and_a_second_one_is_not() {
    let backend = backend();
    let mut stream = Arc::clone(&backend).stream().unwrap();
    // Three quarters of a chunk.
    let mut alloc = || stream.alloc([3 << 16].into(), DType::F32, Layout::Rows).unwrap();
    let first = alloc();
    let mut others = Vec::new();
    assert_asks([2, 0, 0], || others.extend([alloc(), alloc()]));
    assert_asks([0, 1, 1], || others.clear());
    assert_asks([0, 0, 0], || others.push(alloc()));
    drop(first);
}

#[test]
fn memory_that_was_freed_is_used_again_after_the_launches_that_read_it() {
    let backend = backend();
    let mut stream = Arc::clone(&backend).stream().unwrap();
    let s = &mut *stream;
    let mut y = unset(s, [1, 64]);
    for round in 0..3 {
        let x = tensor(s, [1, 64], &[1.0; 64]);
        let counts = calls(ASKED, || {
            enter(s, |s| {
                s.cast((&x).into(), (&mut y).into()).unwrap();
                drop(x);
                // By another stream, which knows nothing of the launch that was noted.
                drop(backend.upload(&View::f32([1, 64], &[2.0; 64]).unwrap()).unwrap());
            });
        });
        assert_eq!(values(s, &y), [1.0; 64], "round {round}");
        assert!(CUDA.0 == Driver::Real || counts[0] == 1, "from another chunk: {counts:?}");
    }
}
