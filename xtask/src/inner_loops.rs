//! Reads the machine code of a release for register tiles whose sums do not stay in registers.
//!
//! A tile that the compiler keeps on the stack computes the same numbers at half the speed, and on a machine that lacks the
//! instructions no bench can tell. So the loops are looked for in the code itself: those that broadcast x and multiply-add
//! into many vectors. None of them may touch the stack. A loop that also unpacks its words, as bf16 without instructions
//! for it does, has no room to spare and is not looked at.
//!
//! A closure that the compiler does not inline is a function without vector instructions, and each of its intrinsics a call
//! through memory; so no kernel may call an intrinsic.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::workspace::Workspace;

/// Options of `cargo xtask inner-loops`.
#[derive(Args)]
pub(crate) struct Options {
    /// A program for x86-64, with symbols [default: videomae in the folder of release builds]
    program: Option<PathBuf>,
}

/// Tiles of at least this many multiply-adds a step; smaller ones are the last rows of something.
const LEAST: usize = 12;

/// Lists the tiles by instruction; fails if any touches the stack.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let program = options.program.clone().unwrap_or_else(|| workspace.target.join("release/videomae"));
    let output = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn"])
        .arg(&program)
        .output()
        .context("running objdump, which is part of binutils")?;
    ensure!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr).trim());
    let disassembly = String::from_utf8_lossy(&output.stdout);
    let tiles = tiles(&disassembly);
    ensure!(!tiles.is_empty(), "{}: expected loops of multiply-adds, found none", program.display());
    let mut counts = BTreeMap::new();
    tiles.iter().for_each(|tile| *counts.entry(&tile.instruction).or_insert(0) += 1);
    counts.iter().for_each(|(instruction, count)| println!("{instruction}: {count} tiles"));
    let spilled: Vec<_> = tiles.iter().filter(|tile| tile.stack > 0).collect();
    for tile in &spilled {
        let Tile { function, instruction, multiply_adds, stack } = tile;
        println!("{stack} accesses of the stack beside {multiply_adds} {instruction} in {function}");
    }
    let called = called_intrinsics(&disassembly);
    for (function, instruction) in &called {
        println!("{instruction} in {function}");
    }
    if !spilled.is_empty() {
        bail!("{} of {} tiles do not stay in registers", spilled.len(), tiles.len());
    }
    ensure!(called.is_empty(), "{} intrinsics are called as functions", called.len());
    Ok(())
}

/// An innermost loop that broadcasts and multiply-adds.
#[derive(Debug, PartialEq)]
struct Tile {
    function: String,
    /// With the width of its vectors.
    instruction: String,
    multiply_adds: usize,
    /// How often it reads or writes the stack.
    stack: usize,
}

/// An instruction: where it is, and its text.
type Line<'a> = (u64, &'a str);

fn tiles(disassembly: &str) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for (name, code) in functions(disassembly) {
        tiles.extend(innermost_loops(&code).filter_map(|body| tile(name, body)));
    }
    tiles
}

/// Kernels, and their instructions that call an intrinsic.
fn called_intrinsics(disassembly: &str) -> Vec<(&str, &str)> {
    let kernels =
        functions(disassembly).filter(|(name, _)| name.contains("kernels_cpu") || name.contains("pulp"));
    let mut called = Vec::new();
    for (name, code) in kernels {
        let calls =
            code.into_iter().filter(|(_, text)| text.starts_with("call") && text.contains("core_arch"));
        called.extend(calls.map(|(_, text)| (name, text)));
    }
    called
}

/// Every function with its code.
fn functions(disassembly: &str) -> impl Iterator<Item = (&str, Vec<Line<'_>>)> {
    disassembly.split("\n\n").filter_map(|function| {
        let mut lines = function.trim_start().lines();
        let name = lines.next()?.split_once('<')?.1.strip_suffix(">:")?;
        Some((name, lines.filter_map(instruction).collect()))
    })
}

fn instruction(line: &str) -> Option<Line<'_>> {
    let (address, text) = line.split_once(":\t")?;
    Some((u64::from_str_radix(address.trim(), 16).ok()?, text.trim()))
}

/// Where a jump goes.
fn target(text: &str) -> Option<u64> {
    let operand = text.strip_prefix('j')?.split_whitespace().nth(1)?;
    u64::from_str_radix(operand, 16).ok()
}

/// From the target of a jump back to the jump, where no other jump lies between.
fn innermost_loops<'a, 'c>(code: &'c [Line<'a>]) -> impl Iterator<Item = &'c [Line<'a>]> {
    let mut after_jump = 0;
    code.iter().enumerate().filter_map(move |(end, (_, text))| {
        let target = target(text)?;
        let begin = std::mem::replace(&mut after_jump, end + 1);
        let start = begin + code[begin..=end].iter().position(|&(address, _)| address == target)?;
        Some(&code[start..=end])
    })
}

fn tile(function: &str, body: &[Line<'_>]) -> Option<Tile> {
    let count = |words: &[&str]| {
        body.iter().filter(|(_, text)| words.iter().any(|word| text.starts_with(word))).count()
    };
    let unpacks = count(&["vpslld", "vpand", "vpsrld"]) > 0;
    let multiply_adds = ["vfmadd231ps", "vpmaddwd", "vdpbf16ps", "vpdpbusd"];
    let name = multiply_adds.into_iter().max_by_key(|name| count(&[name]))?;
    let multiply_adds = count(&[name]);
    if unpacks || multiply_adds < LEAST || count(&["vbroadcastss", "vpbroadcastd"]) < LEAST / 4 {
        return None;
    }
    let width = if body.iter().any(|(_, text)| text.contains("%zmm")) { "zmm" } else { "ymm" };
    let stack = body.iter().filter(|(_, text)| text.contains("(%rsp") || text.contains("(%rbp")).count();
    Some(Tile { function: function.to_owned(), instruction: format!("{name} {width}"), multiply_adds, stack })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function of one loop with twelve multiply-adds, and what else its steps do.
    fn function(step: &str) -> String {
        let mut lines = vec![step.to_owned()];
        lines.extend((0..6).map(|i| format!("vbroadcastss (%rax),%zmm{}", i + 20)));
        lines.extend((0..12).map(|i| format!("vdpbf16ps %zmm30,%zmm20,%zmm{i}")));
        lines.push("jne    10 <tile+0x10>".to_owned());
        let lines: Vec<_> =
            lines.iter().enumerate().map(|(i, text)| format!("      {:x}:\t{text}", 16 + i)).collect();
        format!("\n\n0000000000000010 <tile>:\n{}\n      40:\tret\n", lines.join("\n"))
    }

    #[test]
    fn a_tile_in_registers_passes_and_one_on_the_stack_is_counted() {
        let tile = |stack| Tile {
            function: "tile".to_owned(),
            instruction: "vdpbf16ps zmm".to_owned(),
            multiply_adds: 12,
            stack,
        };
        assert_eq!(tiles(&function("vmovups (%rdx),%zmm30")), [tile(0)]);
        assert_eq!(tiles(&function("vmovups %zmm3,0x40(%rsp)")), [tile(1)]);
        assert_eq!(tiles(&function("vmovups %zmm3,0x40(%rsp,%rcx,4)")), [tile(1)]);
    }

    #[test]
    fn a_kernel_that_calls_an_intrinsic_is_found() {
        let call = function("call   80 <_ZN4core9core_arch3x8612_mm256_add_psE>");
        assert_eq!(called_intrinsics(&call), []);
        let kernel = call.replace("<tile>", "<_ZN11kernels_cpu5heads3putE>");
        let expected = ("_ZN11kernels_cpu5heads3putE", "call   80 <_ZN4core9core_arch3x8612_mm256_add_psE>");
        assert_eq!(called_intrinsics(&kernel), [expected]);
    }

    #[test]
    fn loops_that_unpack_or_hold_another_jump_are_not_tiles() {
        assert_eq!(tiles(&function("vpslld $0x10,%zmm30,%zmm31")), []);
        assert_eq!(tiles(&function("je     40 <tile+0x30>")), []);
        assert_eq!(tiles("not a disassembly"), []);
    }
}
