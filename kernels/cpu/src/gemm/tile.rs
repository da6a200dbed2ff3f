//! The register tile: a few rows of A times a panel of B, summed in registers.

use super::product::Product;
use crate::simd::{MAX_TILE_ROWS, Simd, TILE_VECTORS};

/// The sums of a tile, which the compiler keeps in registers.
pub(crate) type Sums<S, const ROWS: usize> = [[<S as Simd>::Vector; TILE_VECTORS]; ROWS];

/// Words of weights that are asked for ahead: 2 KiB, some thirty steps of an AVX2 tile. Panels of 48 KiB come from
/// the second-level cache; with AVX2, asking raised 768 terms from 88 to 93 % of the peak and 384 terms from 79 to
/// 91 %. Half the distance is worse by 2 % for 768 terms.
const PREFETCH: usize = 512;

/// Memory that will be needed soon and may lie beyond the first-level cache; a line is asked for at each step of the sum.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// The first line, anywhere.
    pub(crate) from: *const f32,
    /// Words from one line to the next.
    pub(crate) step: usize,
}

impl Ahead {
    /// What follows in a stream of weights.
    pub(crate) fn of_weights<S: Simd, P: Product<S>>(weights: &[f32]) -> Self {
        Self { from: weights.as_ptr().wrapping_add(PREFETCH), step: TILE_VECTORS * P::VECTOR_WORDS }
    }
}

/// What a tile multiplies, in words of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    /// A, from its first element on.
    pub(crate) a: &'a [f32],
    /// Words between two rows of A.
    pub(crate) a_row: usize,
    /// Words between two steps along the sum.
    pub(crate) a_step: usize,
    /// B: [`TILE_VECTORS`] vectors, of as many words as the precision says, for each step of the sum.
    pub(crate) b: &'a [f32],
    /// What to ask for meanwhile.
    pub(crate) ahead: Option<Ahead>,
    /// The words of a sum.
    pub(crate) depth: usize,
}

/// `sums[r][c] += Σₖ a[r·a_row + k·a_step] · b[k][c]`, terms in order of k whatever the height of the tile, so
/// that a result does not depend on the tile it falls into.
#[inline(always)]
pub(crate) fn accumulate<S: Simd, P: Product<S>, const ROWS: usize>(
    s: S,
    operands: Operands<'_>,
    sums: &mut Sums<S, ROWS>,
) {
    let Operands { a, a_row, a_step, b, mut ahead, depth } = operands;
    if depth == 0 {
        return;
    }
    assert!(a.len() > (ROWS - 1) * a_row + (depth - 1) * a_step, "A holds all rows of the tile");
    let b_step = TILE_VECTORS * P::VECTOR_WORDS;
    assert!(b.len() >= depth * b_step, "B holds all terms of the sum");
    let (mut a, mut b) = (a.as_ptr(), b.as_ptr());
    // Only a variable that nothing else can see is sure to stay in registers: the caller may index its sums by numbers
    // that are not constants, so they lie in memory, and over a prefetch the compiler writes them back at every step.
    let mut registers = *sums;
    for _ in 0..depth {
        if let Some(Ahead { from, step }) = &mut ahead {
            s.prefetch(*from);
            *from = from.wrapping_add(*step);
        }
        let mut columns = [s.splat(0.0); TILE_VECTORS];
        for (v, column) in columns.iter_mut().enumerate() {
            // SAFETY: `depth` steps of `b_step` words lie in `b`.
            *column = unsafe { P::load_vector(s, b.add(v * P::VECTOR_WORDS)) };
        }
        for step in 0..P::STEPS {
            let mut parts = columns;
            for part in &mut parts {
                *part = P::part(s, *part, step);
            }
            for (r, sums) in registers.iter_mut().enumerate() {
                // SAFETY: the word of the last row and step lies in `a`, hence all before it.
                let word = s.splat(unsafe { *a.add(r * a_row) });
                let x = P::part(s, word, step);
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum = P::multiply_add(s, x, part, *sum);
                }
            }
        }
        // The pointers are not used again after the last step, so they may then point past the slices.
        a = a.wrapping_add(a_step);
        b = b.wrapping_add(b_step);
    }
    *sums = registers;
}

/// The sums of a tile that lie in memory row by row.
#[inline(always)]
pub(crate) fn load<S: Simd, const ROWS: usize>(s: S, values: &[f32]) -> Sums<S, ROWS> {
    assert!(values.len() == ROWS * S::TILE_COLUMNS, "the memory has the rows of the tile");
    let mut sums = [[s.splat(0.0); TILE_VECTORS]; ROWS];
    for (row, sums) in values.chunks_exact(S::TILE_COLUMNS).zip(&mut sums) {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = s.load_slice(&row[v * S::LANES..]);
        }
    }
    sums
}

/// The inverse of [`load`].
#[inline(always)]
pub(crate) fn store<S: Simd, const ROWS: usize>(s: S, sums: &Sums<S, ROWS>, values: &mut [f32]) {
    assert!(values.len() == ROWS * S::TILE_COLUMNS, "the memory has the rows of the tile");
    for (row, sums) in values.chunks_exact_mut(S::TILE_COLUMNS).zip(sums) {
        for (v, &sum) in sums.iter().enumerate() {
            s.store_slice(&mut row[v * S::LANES..], sum);
        }
    }
}

/// Something done with a tile of a height that is known when it is compiled.
pub(crate) trait RowKernel<S: Simd> {
    /// The most rows it is asked for.
    const TILE_ROWS: usize;

    /// Does it. Inlined into a function compiled for the instruction set.
    fn run<const ROWS: usize>(self, s: S);
}

/// Runs the kernel compiled for tiles of `rows` rows.
///
/// # Panics
/// With no rows, or more than [`MAX_TILE_ROWS`].
#[inline(always)]
pub(crate) fn with_rows<S: Simd, K: RowKernel<S>>(s: S, rows: usize, kernel: K) {
    match rows {
        1 => with::<1, S, K>(s, kernel),
        2 => with::<2, S, K>(s, kernel),
        3 => with::<3, S, K>(s, kernel),
        4 => with::<4, S, K>(s, kernel),
        5 => with::<5, S, K>(s, kernel),
        6 => with::<6, S, K>(s, kernel),
        7 => with::<7, S, K>(s, kernel),
        8 => with::<8, S, K>(s, kernel),
        9 => with::<9, S, K>(s, kernel),
        10 => with::<10, S, K>(s, kernel),
        11 => with::<11, S, K>(s, kernel),
        12 => with::<12, S, K>(s, kernel),
        13 => with::<13, S, K>(s, kernel),
        MAX_TILE_ROWS => with::<MAX_TILE_ROWS, S, K>(s, kernel),
        _ => panic!("a tile has 1 to {MAX_TILE_ROWS} rows, not {rows}"),
    }
}

#[inline(always)]
fn with<const ROWS: usize, S: Simd, K: RowKernel<S>>(s: S, kernel: K) {
    // Heights that are never used are not compiled.
    if const { ROWS <= K::TILE_ROWS } {
        s.vectorize(
            #[inline(always)]
            || kernel.run::<ROWS>(s),
        );
    } else {
        panic!("a tile of this product has at most {} rows, not {ROWS}", K::TILE_ROWS);
    }
}
