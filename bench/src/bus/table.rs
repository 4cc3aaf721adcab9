//! The table that is printed.

use super::peers::{Kind, Peer};
use super::sample::{Bar, Sample};

/// All figures of all servers.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Kind)>,
    rows: Vec<Row>,
}

/// One figure of one case.
#[derive(Debug)]
struct Row {
    case: &'static str,
    sample: Sample,
    /// Per column, a value per round.
    values: Vec<Vec<f64>>,
}

// === impl Table ===

impl Table {
    pub(crate) fn new(peers: &[Peer]) -> Self {
        Table {
            columns: peers
                .iter()
                .map(|peer| (peer.name.clone(), peer.kind()))
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds what one measurement of the server in `column` has found.
    pub(crate) fn add(&mut self, case: &'static str, column: usize, samples: Vec<Sample>) {
        for sample in samples {
            let known = self
                .rows
                .iter()
                .position(|row| row.case == case && row.sample.figure == sample.figure);
            let at = known.unwrap_or_else(|| {
                self.rows.push(Row {
                    case,
                    sample,
                    values: vec![Vec::new(); self.columns.len()],
                });
                self.rows.len() - 1
            });
            self.rows[at].values[column].push(sample.value);
        }
    }

    pub(crate) fn print(&self) {
        let has = |kind| self.columns.iter().any(|(_, k)| *k == kind);
        let mut head = vec!["case".to_owned(), "figure".to_owned()];
        head.extend(self.columns.iter().map(|(name, _)| name.clone()));
        head.extend(["ratio".to_owned(), "bar".to_owned(), "met".to_owned()]);
        if has(Kind::Bare) {
            head.push("of the limit".to_owned());
        }
        println!("| {} |", head.join(" | "));
        println!("| --- | --- |{}", " ---: |".repeat(head.len() - 2));
        let mut last = "";
        for row in &self.rows {
            let name = if row.case == last { "" } else { row.case };
            last = row.case;
            let mut cells = vec![name.to_owned(), row.sample.figure.to_owned()];
            cells.extend(row.values.iter().map(|values| cell(values)));
            cells.extend(self.judge(row));
            if has(Kind::Bare) {
                cells.push(self.share(row));
            }
            println!("| {} |", cells.join(" | "));
        }
        println!();
        println!(
            "Medians; ± is half the distance from the smallest to the largest round. Ratio: to the better nats-server."
        );
    }

    fn median_of(&self, row: &Row, kind: Kind) -> Option<f64> {
        let medians = self
            .columns
            .iter()
            .zip(&row.values)
            .filter(|((_, k), v)| *k == kind && !v.is_empty());
        let medians = medians.map(|(_, values)| median(values));
        if row.sample.less {
            medians.reduce(f64::min)
        } else {
            medians.reduce(f64::max)
        }
    }

    /// Ratio, bar, and whether it is met.
    fn judge(&self, row: &Row) -> [String; 3] {
        let ours = self.median_of(row, Kind::Ours);
        let ratio = ours
            .zip(self.median_of(row, Kind::Genuine))
            .map(|(ours, theirs)| ours / theirs);
        let sign = if row.sample.less { "≤" } else { "≥" };
        let meets = |value: f64, bar: f64| {
            if row.sample.less {
                value <= bar
            } else {
                value >= bar
            }
        };
        let (bar, met) = match row.sample.bar {
            None => (String::new(), None),
            Some(Bar::Ratio(bar)) => (
                format!("{sign} {bar} ×"),
                ratio.map(|ratio| meets(ratio, bar)),
            ),
            Some(Bar::Value(bar)) => (format!("{sign} {bar}"), ours.map(|ours| meets(ours, bar))),
        };
        let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
        [
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            bar,
            met.to_owned(),
        ]
    }

    /// Which part of what the bare sockets reach ours does.
    fn share(&self, row: &Row) -> String {
        let both = self
            .median_of(row, Kind::Ours)
            .zip(self.median_of(row, Kind::Bare));
        let share = both.map(|(ours, bare)| {
            if row.sample.less {
                bare / ours
            } else {
                ours / bare
            }
        });
        share.map_or(String::new(), |share| format!("{:.0} %", share * 100.0))
    }
}

fn cell(values: &[f64]) -> String {
    if values.is_empty() {
        return "–".to_owned();
    }
    let middle = median(values);
    let digits = match middle {
        m if m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        _ => 3,
    };
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(low, high), v| {
            (low.min(*v), high.max(*v))
        });
    let spread = if values.len() > 1 {
        format!(" ± {:.0} %", (high - low) / 2.0 / middle * 100.0)
    } else {
        String::new()
    };
    format!("{middle:.digits$}{spread}")
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
