//! Which parts of the chunks of memory that the driver gave are taken.
//!
//! This is arithmetic on addresses only; `memory` asks the driver, and knows when memory is at rest. A block is cut from the
//! smallest gap that it fits into, and a gap grows together with its neighbours, so that a session whose tensors come and go
//! in one order finds its places again.

use std::collections::BTreeMap;

use crate::memory::Address;

/// Blocks start at multiples of this, as the driver's own do: what vector loads, `cp.async` and TMA ask for, and more.
pub(crate) const ALIGNMENT: usize = 256;

/// A part of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) address: Address,
    pub(crate) bytes: usize,
}

/// Chunks, and what is free in them.
#[derive(Default)]
pub(crate) struct Arena {
    /// By address: their sizes.
    chunks: BTreeMap<Address, usize>,
    /// By address: their sizes. No two of them touch within a chunk.
    gaps: BTreeMap<Address, usize>,
}

impl Arena {
    /// Adds a chunk, whose address is a multiple of the alignment, and takes the first `bytes` bytes of it.
    pub(crate) fn add(&mut self, chunk: Block, bytes: usize) -> Block {
        self.chunks.insert(chunk.address, chunk.bytes);
        self.cut(chunk, bytes)
    }

    /// A block of at least `bytes` bytes, which is not zero; none if no gap is as large.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<Block> {
        let fitting = self.gaps.iter().filter(|&(_, &gap)| gap >= bytes);
        let (&address, &gap) = fitting.min_by_key(|&(&address, &gap)| (gap, address))?;
        self.gaps.remove(&address);
        Some(self.cut(Block { address, bytes: gap }, bytes))
    }

    /// The first bytes of what is free; the rest becomes a gap.
    fn cut(&mut self, free: Block, bytes: usize) -> Block {
        // The end of a chunk need not be aligned.
        let taken = bytes.next_multiple_of(ALIGNMENT).min(free.bytes);
        if taken < free.bytes {
            self.gaps.insert(free.address + taken as Address, free.bytes - taken);
        }
        Block { address: free.address, bytes: taken }
    }

    /// Takes a block back.
    pub(crate) fn give(&mut self, Block { mut address, mut bytes }: Block) {
        let before = self.gaps.range(..address).next_back().map(|(&gap, &bytes)| (gap, bytes));
        if let Some((gap, length)) = before
            && gap + length as Address == address
            && !self.chunks.contains_key(&address)
        {
            self.gaps.remove(&gap);
            (address, bytes) = (gap, length + bytes);
        }
        let end = address + bytes as Address;
        if !self.chunks.contains_key(&end) {
            bytes += self.gaps.remove(&end).unwrap_or(0);
        }
        self.gaps.insert(address, bytes);
    }

    /// The chunks of which nothing is taken, in the order of their addresses.
    pub(crate) fn empty(&self) -> impl Iterator<Item = Block> {
        let chunks = self.chunks.iter().map(|(&address, &bytes)| Block { address, bytes });
        chunks.filter(|chunk| self.gaps.get(&chunk.address) == Some(&chunk.bytes))
    }

    /// Forgets a chunk of which nothing is taken.
    pub(crate) fn remove(&mut self, chunk: Block) {
        self.gaps.remove(&chunk.address);
        self.chunks.remove(&chunk.address);
    }

    /// All gaps together.
    pub(crate) fn free(&self) -> usize {
        self.gaps.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two chunks that touch, and one further on whose end is not aligned.
    fn arena() -> (Arena, [Block; 3]) {
        let chunks =
            [(4096, 4096), (8192, 2048), (20_480, 1000)].map(|(address, bytes)| Block { address, bytes });
        let mut arena = Arena::default();
        for chunk in chunks {
            let first = arena.add(chunk, 1);
            arena.give(first);
        }
        (arena, chunks)
    }

    proptest! {
        #![proptest_config(kernels_testing::cases(256))]

        /// `Ok` takes so many bytes, `Err` gives one of the taken blocks back.
        #[test]
        fn blocks_are_aligned_apart_within_a_chunk_and_all_come_back(
            steps in proptest::collection::vec(
                prop_oneof![(1..3000usize).prop_map(Ok), any::<proptest::sample::Index>().prop_map(Err)],
                0..60,
            ),
        ) {
            let (mut arena, chunks) = arena();
            let total = arena.free();
            let mut taken: Vec<Block> = Vec::new();
            for step in steps {
                match step {
                    Ok(bytes) => {
                        let Some(block) = arena.take(bytes) else { continue };
                        prop_assert!(block.bytes >= bytes && block.address.is_multiple_of(ALIGNMENT as u64));
                        let end = |block: &Block| block.address + block.bytes as u64;
                        let within = |chunk: &Block| chunk.address <= block.address && end(&block) <= end(chunk);
                        prop_assert!(chunks.iter().any(within));
                        let apart = |other: &Block| end(other) <= block.address || end(&block) <= other.address;
                        prop_assert!(taken.iter().all(apart));
                        taken.push(block);
                    }
                    Err(index) if !taken.is_empty() => arena.give(taken.swap_remove(index.index(taken.len()))),
                    Err(_) => {}
                }
                prop_assert_eq!(arena.free() + taken.iter().map(|block| block.bytes).sum::<usize>(), total);
            }
            for block in taken {
                arena.give(block);
            }
            prop_assert_eq!(arena.empty().collect::<Vec<_>>(), chunks.to_vec());
        }
    }

    #[test]
    fn a_block_comes_from_the_smallest_gap_that_it_fits_into() {
        let (mut arena, chunks) = arena();
        assert_eq!(arena.take(900).unwrap(), chunks[2], "with the end that nobody else could use");
        assert_eq!(arena.take(900).unwrap(), Block { address: 8192, bytes: 1024 });
        assert_eq!(arena.take(2000).unwrap().address, 4096);
        assert_eq!(arena.take(3000), None);
    }

    #[test]
    fn a_chunk_that_is_forgotten_gives_nothing() {
        let (mut arena, chunks) = arena();
        arena.remove(chunks[0]);
        assert_eq!(arena.take(4000), None);
        assert_eq!(arena.free(), 3048);
    }
}
