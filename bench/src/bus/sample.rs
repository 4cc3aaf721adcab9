//! Figures of one measurement, and what they should be.

/// One figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// What it is, with its unit.
    pub(crate) figure: &'static str,
    /// Whether less of it is better.
    pub(crate) less: bool,
    /// What it should be.
    pub(crate) bar: Option<Bar>,
    /// How much it is.
    pub(crate) value: f64,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At most (at least, where more is better) this much of the better nats-server's.
    Ratio(f64),
    /// At most (at least) this, whatever the others have.
    Value(f64),
}

// === impl Sample ===

impl Sample {
    /// CPU time of the server per message, in microseconds.
    pub(crate) fn cpu(seconds: f64, messages: u64, bar: Option<f64>) -> Self {
        Sample::less("CPU, µs", seconds * 1e6 / messages as f64, bar)
    }

    /// What came through per second, in thousands.
    pub(crate) fn rate(messages: u64, seconds: f64) -> Self {
        Sample::more("rate, k/s", messages as f64 / seconds / 1e3, None)
    }

    /// A figure of which less is better.
    pub(crate) fn less(figure: &'static str, value: f64, ratio: Option<f64>) -> Self {
        let bar = ratio.map(Bar::Ratio);
        Sample {
            figure,
            less: true,
            bar,
            value,
        }
    }

    /// A figure of which more is better.
    pub(crate) fn more(figure: &'static str, value: f64, ratio: Option<f64>) -> Self {
        Sample {
            less: false,
            ..Sample::less(figure, value, ratio)
        }
    }

    /// The same with a bar that does not depend on others.
    pub(crate) fn within(self, value: f64) -> Self {
        Sample {
            bar: Some(Bar::Value(value)),
            ..self
        }
    }
}

/// Latencies in nanoseconds, to take percentiles of.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u64>);

// === impl Latencies ===

impl Latencies {
    pub(crate) fn with_capacity(count: usize) -> Self {
        Latencies(Vec::with_capacity(count))
    }

    pub(crate) fn push(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    pub(crate) fn append(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    /// The percentile in microseconds.
    pub(crate) fn micros(&mut self, percent: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * percent / 100.0).round() as usize;
        self.0.get(at).map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
    }
}
