use super::*;

#[test]
fn sums_over_more_than_one_round_of_blocks_agree() {
    // More elements than all blocks have threads.
    let shape = Shape::from([1100, 256]);
    let (x, target) = (noise(1, shape.elements()), noise(2, shape.elements()));
    agree(&Cuda, "mse_loss", shape.elements(), 1.0, &|backend| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let (x, target) = (tensor(s, shape, &x), tensor(s, shape, &target));
        let mut loss = unset(s, [1]);
        s.mse_loss(&x, &target, &mut loss, None).unwrap();
        values(s, &loss)
    });
}
