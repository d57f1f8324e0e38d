//! Compares ways to do the same by letting them take turns.
//!
//! The speed of a virtual machine drifts by a third within seconds, and a benchmark that measures one way to its end
//! before it begins the next takes the drift for a difference. Here every round has one turn of each way, and what is
//! compared is the quotient within a round: its median and its middle half.
//!
//! A word on the command line picks the comparisons that contain it. With `--test`, or without the `--bench` that
//! `cargo bench` gives, each way has one turn.

use std::time::{Duration, Instant};

/// How long one comparison takes, and how often everything has its turn at least.
const TIME: Duration = Duration::from_millis(1500);
/// Where another process does part of a turn, which takes longer than what is measured of it.
const TIME_OF_PROCESSES: Duration = Duration::from_secs(5);
const ROUNDS_MIN: usize = 11;

/// How the comparisons of one program are run.
pub(crate) struct Paired {
    once: bool,
    picked: Option<String>,
}

impl Paired {
    /// As the command line says.
    pub(crate) fn from_args() -> Paired {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| words.iter().any(|word| word == flag);
        let picked = words.iter().find(|word| !word.starts_with('-')).cloned();
        Paired { once: has("--test") || !has("--bench"), picked }
    }

    /// Whether each way has one turn alone.
    #[allow(dead_code, reason = "for benches that count turns of their own")]
    pub(crate) fn once(&self) -> bool {
        self.once
    }

    /// Whether the command line wants this comparison.
    pub(crate) fn picks(&self, title: &str) -> bool {
        self.picked.as_ref().is_none_or(|picked| title.contains(picked.as_str()))
    }

    /// Compares the named ways with the first of them and prints a line for each. `turn` takes a turn with the way
    /// that it is given by number, and says how long it took.
    pub(crate) fn compare(
        &self,
        title: &str,
        names: &[String],
        unit: Unit,
        mut turn: impl FnMut(usize) -> Duration,
    ) {
        let turns = self.rounds_for(TIME, names.len(), |way| turn(way).as_secs_f64() / unit.per_turn as f64);
        for (name, own) in names.iter().zip(&turns) {
            let seconds = quartiles(own.clone())[1];
            let [low, middle, high] = quartiles(quotients(own, &turns[0]));
            println!(
                "{:<32} {:>9.2} us {:>7.3} s/GB   {middle:.2} of {} [{low:.2}..{high:.2}]",
                format!("{title}/{name}"),
                seconds * 1e6,
                seconds * 1e9 / unit.bytes as f64,
                names[0],
            );
        }
    }

    /// Lets so many ways take turns and gives what each turn of each measured. `turn` takes a turn with the way that it
    /// is given by number, and says what that measured.
    #[allow(dead_code, reason = "for benches that run the server")]
    pub(crate) fn rounds(&self, ways: usize, turn: impl FnMut(usize) -> f64) -> Vec<Vec<f64>> {
        self.rounds_for(TIME_OF_PROCESSES, ways, turn)
    }

    fn rounds_for(&self, time: Duration, ways: usize, mut turn: impl FnMut(usize) -> f64) -> Vec<Vec<f64>> {
        let mut turns: Vec<Vec<f64>> = vec![Vec::new(); ways];
        let start = Instant::now();
        loop {
            for (way, turns) in turns.iter_mut().enumerate() {
                turns.push(turn(way));
            }
            if self.once || (turns[0].len() >= ROUNDS_MIN && start.elapsed() >= time) {
                return turns;
            }
        }
    }
}

/// What the figures of a comparison are for one of.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    /// How often it is done in a turn.
    pub(crate) per_turn: usize,
    /// Bytes of one.
    pub(crate) bytes: usize,
}

/// What one way measured over what the first did, round by round.
pub(crate) fn quotients(own: &[f64], first: &[f64]) -> Vec<f64> {
    own.iter().zip(first).map(|(own, first)| own / first).collect()
}

/// The least, the median and the most.
#[allow(dead_code, reason = "for benches with a bar to meet")]
pub(crate) fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// The lower quartile, the median and the upper one.
pub(crate) fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}
