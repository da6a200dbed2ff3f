"""The other programs that `cargo xtask bench-peers` runs: how their models are made, and how they are run."""
