//! A binary search as a classic BPF program, which knows no loops: each comparison is an instruction of its own.

use std::collections::BTreeSet;

use super::instruction::{
    AND, FROM_INDEX, Instruction, JUMP, JUMP_BITS, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD_IMMEDIATE,
    LOAD_MEMORY, LOAD_WORD, SHIFT_LEFT_BY_INDEX, STORE, SUBTRACT, TO_INDEX, jump, pass, plain,
};

/// Conditional jumps skip at most 255 instructions: so many comparisons share one end.
const LONGEST_BLOCK: usize = 254;
/// From this many runs of addresses on, a map of 32 bits is shorter than a comparison for each run.
const FEWEST_MAPPED: usize = 3;

/// Passes a frame that has one of the values at the offset, and goes on behind the program with others. Where the
/// program would be longer than `longest`, it takes values that lie close together for one range, and passes what is
/// between them as well.
pub(super) fn search(values: &BTreeSet<u32>, offset: u32, longest: usize) -> Vec<Instruction> {
    let Some(base) = values.first().copied() else { return Vec::new() };
    let runs = runs(values, base);
    let mut most = runs.len();
    loop {
        let cells = cells(&at_most(&runs, most));
        let mut program = load(offset, base, &cells);
        program.extend(tree(&cells));
        if program.len() <= longest || most == 1 {
            leave(&mut program);
            return program;
        }
        most = (most * 3 / 4).max(1);
    }
}

/// Values that follow one another, counted from the first of all: what is below that wraps around and is too great.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u32,
    last: u32,
}

/// What one leaf of the tree decides about values that are not below its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    run: Run,
    /// Which of the run's values count, by their last five bits; all of them, if there is none.
    map: Option<u32>,
}

impl Cell {
    const fn length(&self) -> usize {
        if self.map.is_some() { 3 } else { 1 }
    }
}

fn runs(values: &BTreeSet<u32>, base: u32) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for value in values.iter().map(|value| value - base) {
        match runs.last_mut() {
            Some(run) if run.last + 1 == value => run.last = value,
            _ => runs.push(Run { first: value, last: value }),
        }
    }
    runs
}

/// The runs, those joined that have the fewest values between them, until no more than so many are left.
fn at_most(runs: &[Run], most: usize) -> Vec<Run> {
    let distances = runs.windows(2).enumerate().filter_map(|(at, pair)| match pair {
        [before, after] => Some((after.first - before.last, at + 1)),
        _ => None,
    });
    let mut distances: Vec<_> = distances.collect();
    distances.sort_unstable();
    distances.truncate(runs.len().saturating_sub(most));
    let joined: BTreeSet<usize> = distances.into_iter().map(|(_, at)| at).collect();
    let mut left: Vec<Run> = Vec::with_capacity(most);
    for (at, run) in runs.iter().enumerate() {
        match left.last_mut() {
            Some(before) if joined.contains(&at) => before.last = run.last,
            _ => left.push(*run),
        }
    }
    left
}

/// Runs that share their upper 27 bits are one cell, where they are enough.
fn cells(runs: &[Run]) -> Vec<Cell> {
    let block = |run: &Run| (run.first >> 5 == run.last >> 5).then_some(run.first >> 5);
    let together = runs.chunk_by(|a, b| block(a).is_some() && block(a) == block(b));
    together.flat_map(|runs| mapped(runs).unwrap_or_else(|| runs.iter().map(whole).collect())).collect()
}

fn whole(run: &Run) -> Cell {
    Cell { run: *run, map: None }
}

fn mapped(runs: &[Run]) -> Option<Vec<Cell>> {
    let (first, last) = (runs.first()?, runs.last()?);
    if runs.len() < FEWEST_MAPPED {
        return None;
    }
    let bits = |run: &Run| (run.first..=run.last).fold(0, |bits, value| bits | 1 << (value & 31));
    let map = runs.iter().fold(0, |map, run| map | bits(run));
    Some(vec![Cell { run: Run { first: first.first, last: last.last }, map: Some(map) }])
}

/// Loads the value less the base, and for maps the bit of its last five bits as well, as the index.
fn load(offset: u32, base: u32, cells: &[Cell]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD_WORD, offset), plain(SUBTRACT, base)];
    if cells.iter().any(|cell| cell.map.is_some()) {
        program.extend([plain(STORE, 0), plain(AND, 31), plain(TO_INDEX, 0)]);
        program.extend([plain(LOAD_IMMEDIATE, 1), plain(SHIFT_LEFT_BY_INDEX, 0), plain(TO_INDEX, 0)]);
        program.push(plain(LOAD_MEMORY, 0));
    }
    program
}

/// Halves, until a half is one block.
fn tree(cells: &[Cell]) -> Vec<Instruction> {
    let length = length(cells);
    if length <= LONGEST_BLOCK {
        let mut program = Vec::with_capacity(length + 2);
        block(cells, length, &mut program);
        program.extend([pass(), plain(JUMP, LEAVE)]);
        return program;
    }
    let (left, right) = cells.split_at(cells.len() / 2);
    let (left, first) = (tree(left), first(right));
    let over = u32::try_from(left.len()).unwrap_or(LEAVE);
    let mut program = vec![jump(JUMP_GREATER_EQUAL, first, 0, 1), plain(JUMP, over)];
    program.extend(left);
    program.extend(tree(right));
    program
}

/// Comparisons that end in the two instructions behind the block: pass, and leave.
fn block(cells: &[Cell], end: usize, program: &mut Vec<Instruction>) {
    let [cell] = cells else {
        let (left, right) = cells.split_at(cells.len() / 2);
        if !left.is_empty() {
            program.push(jump(JUMP_GREATER_EQUAL, first(right), skip(length(left)), 0));
            block(left, end, program);
            block(right, end, program);
        }
        return;
    };
    let to_pass = |program: &Vec<Instruction>| skip(end.saturating_sub(program.len() + 1));
    let to_leave = |program: &Vec<Instruction>| skip(end.saturating_sub(program.len()));
    let past = to_leave(program);
    match cell.map {
        None => program.push(jump(JUMP_GREATER, cell.run.last, past, to_pass(program))),
        Some(map) => {
            program.extend([jump(JUMP_GREATER, cell.run.last, past, 0), plain(FROM_INDEX, 0)]);
            program.push(jump(JUMP_BITS, map, to_pass(program), to_leave(program)));
        }
    }
}

/// Of the comparisons between cells and within them.
fn length(cells: &[Cell]) -> usize {
    cells.iter().map(Cell::length).sum::<usize>() + cells.len().saturating_sub(1)
}

fn first(cells: &[Cell]) -> u32 {
    cells.first().map_or(0, |cell| cell.run.first)
}

/// A block is short enough.
fn skip(instructions: usize) -> u8 {
    u8::try_from(instructions).unwrap_or(u8::MAX)
}

/// Stands for the end of the program until its length is known; the kernel refuses it.
const LEAVE: u32 = u32::MAX;

fn leave(program: &mut [Instruction]) {
    let length = program.len();
    for (at, instruction) in program.iter_mut().enumerate() {
        if *instruction == plain(JUMP, LEAVE) {
            *instruction = plain(JUMP, u32::try_from(length - at - 1).unwrap_or(LEAVE));
        }
    }
}
