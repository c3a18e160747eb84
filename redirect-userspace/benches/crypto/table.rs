//! Candidates taking turns, and the table of what they needed.

use std::time::{Duration, Instant};

/// Rounds in which every candidate has its turn.
const ROUNDS: usize = 11;
/// How long a turn lasts, about.
const TURN: Duration = Duration::from_millis(10);

/// Candidates for one operation.
pub(crate) struct Table<'a> {
    title: String,
    candidates: Vec<Candidate<'a>>,
}

struct Candidate<'a> {
    name: String,
    operation: Box<dyn FnMut() + 'a>,
    /// Operations in a turn.
    count: u32,
    /// Nanoseconds per operation, one for each round.
    samples: Vec<f64>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), candidates: Vec::new() }
    }

    /// Adds a candidate.
    pub(crate) fn row(mut self, name: impl Into<String>, operation: impl FnMut() + 'a) -> Self {
        let name = name.into();
        let operation = Box::new(operation);
        self.candidates.push(Candidate { name, operation, count: 1, samples: Vec::new() });
        self
    }

    /// Measures, and prints.
    pub(crate) fn run(mut self) {
        for candidate in &mut self.candidates {
            // The first calls fill caches and tables; the next say how many fit into a turn.
            candidate.turn();
            while candidate.turn() < TURN && candidate.count < 1 << 24 {
                candidate.count *= 2;
            }
        }
        for _ in 0..ROUNDS {
            for candidate in &mut self.candidates {
                let nanos = candidate.turn().as_nanos() as f64;
                candidate.samples.push(nanos / f64::from(candidate.count));
            }
        }
        println!("\n{:<52} {:>10} {:>10} {:>6}", self.title, "min ns", "median ns", "ratio");
        let mut first = None;
        for candidate in &mut self.candidates {
            candidate.samples.sort_by(f64::total_cmp);
            let min = candidate.samples.first().copied().unwrap();
            let median = candidate.samples.get(ROUNDS / 2).copied().unwrap();
            let ratio = min / *first.get_or_insert(min);
            println!("  {:<50} {min:>10.0} {median:>10.0} {ratio:>6.2}", candidate.name);
        }
    }
}

impl Candidate<'_> {
    fn turn(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..self.count {
            (self.operation)();
        }
        start.elapsed()
    }
}
