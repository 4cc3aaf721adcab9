//! Figures and their table.

use std::time::Duration;

/// One line of the table: what was measured, how often, and what it should be.
#[derive(Debug)]
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    goal: f64,
    values: Vec<f64>,
}

impl Figure {
    pub(crate) fn milliseconds(name: &'static str, goal: Duration, values: &[Duration]) -> Self {
        let values = values
            .iter()
            .map(|value| value.as_secs_f64() * 1_000.0)
            .collect();
        Self {
            name,
            unit: "ms",
            goal: goal.as_secs_f64() * 1_000.0,
            values,
        }
    }

    pub(crate) fn mebibytes(name: &'static str, goal: f64, values: Vec<f64>) -> Self {
        Self {
            name,
            unit: "MiB",
            goal,
            values,
        }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Prints the table. Medians are to be quoted; these machines are noisy.
pub(crate) fn print(figures: &[Figure]) {
    println!(
        "{:<44} {:>5} {:>9} {:>9} {:>9} {:>9}  median/goal",
        "", "", "min", "median", "max", "goal"
    );
    for figure in figures {
        let min = figure.values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = figure.values.iter().copied().fold(0.0, f64::max);
        let median = figure.median();
        println!(
            "{:<44} {:>5} {min:>9.1} {median:>9.1} {max:>9.1} {:>9.0}  {:.2}{}",
            figure.name,
            figure.unit,
            figure.goal,
            median / figure.goal,
            if median <= figure.goal {
                ""
            } else {
                "  missed"
            },
        );
    }
}
