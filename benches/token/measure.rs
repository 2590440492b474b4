//! Times operations by themselves, with criterion, and against each other, in turns.

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};

/// Operations that do the same job. The first is the one that the others are held against.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) operations: Vec<Operation>,
}

/// Something to do so many times, which says how long all of them took.
pub(super) struct Operation {
    name: &'static str,
    time: Box<dyn FnMut(u64) -> Duration>,
}

impl Operation {
    /// The same call again and again.
    pub(super) fn repeat<T>(name: &'static str, mut call: impl FnMut() -> T + 'static) -> Self {
        let time = move |times| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(call());
            }
            start.elapsed()
        };
        Self { name, time: Box::new(time) }
    }

    /// A call that uses up what it is given. Making the inputs and dropping them takes no part.
    pub(super) fn consume<I, T>(
        name: &'static str,
        mut inputs: impl FnMut(u64) -> Vec<I> + 'static,
        mut call: impl FnMut(&I) -> T + 'static,
    ) -> Self {
        let time = move |times| {
            let inputs = inputs(times);
            let start = Instant::now();
            for input in &inputs {
                black_box(call(input));
            }
            start.elapsed()
        };
        Self { name, time: Box::new(time) }
    }
}

/// Measures all groups; under `cargo test` each operation is only tried once.
pub(super) fn run(groups: &mut [Group]) {
    one_by_one(groups);
    let given = |flag: &str| env::args().any(|argument| argument == flag);
    if given("--bench") && !given("--test") && !given("--list") {
        in_turns(groups);
    }
}

fn one_by_one(groups: &mut [Group]) {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for Group { name, operations } in groups {
        let mut group = criterion.benchmark_group(name.as_str());
        group.sampling_mode(SamplingMode::Flat);
        for operation in operations {
            group.bench_function(operation.name, |bencher| {
                bencher.iter_custom(&mut operation.time);
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

/// What drifts in the machine drifts for all that is measured within a few milliseconds. So the
/// operations of a group take turns in short slices, and each ratio is taken within one round.
#[expect(clippy::print_stdout, reason = "the table is the result")]
fn in_turns(groups: &mut [Group]) {
    const ROUNDS: usize = 101;
    println!("{:32}{:>12}{:>10}   half of the rounds", "", "per call", "ratio");
    for Group { name, operations } in groups {
        println!("{name}");
        let calls: Vec<u32> = operations.iter_mut().map(calls_in_a_slice).collect();
        let rounds: Vec<Vec<f64>> = (0..ROUNDS)
            .map(|_| {
                let slices = operations.iter_mut().zip(&calls);
                slices.map(|(operation, calls)| nanoseconds(operation, *calls)).collect()
            })
            .collect();
        for (index, operation) in operations.iter().enumerate() {
            let [_, time, _] = quartiles(rounds.iter().map(|round| round[index]));
            print!("  {:30}{time:>9.0} ns", operation.name);
            if index > 0 {
                let ratios = rounds.iter().map(|round| round[index] / round[0]);
                let [low, ratio, high] = quartiles(ratios);
                print!("{ratio:>10.3}   {low:.3} to {high:.3}");
            }
            println!();
        }
    }
}

/// A power of two that takes some milliseconds.
fn calls_in_a_slice(operation: &mut Operation) -> u32 {
    let mut calls = 1;
    while (operation.time)(calls.into()) < Duration::from_millis(2) {
        calls *= 2;
    }
    calls
}

/// The time of one call, on average of so many.
fn nanoseconds(operation: &mut Operation, calls: u32) -> f64 {
    (operation.time)(calls.into()).as_secs_f64() * 1e9 / f64::from(calls)
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}
