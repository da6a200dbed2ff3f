//! What was compared, and how far apart it was.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use kernels::{DType, tolerance::Comparison};

/// One tensor of one case on one backend.
#[derive(Clone, Debug)]
pub struct Row {
    /// The op or layer, without the number of the layer.
    pub tensor: String,
    /// The backend that computed it.
    pub backend: String,
    /// The precision it was computed in.
    pub dtype: DType,
    /// The case it belongs to.
    pub case: String,
    /// Its full name.
    pub name: String,
    /// The largest error.
    pub comparison: Comparison,
    /// What the tolerance table allows.
    pub bound: f32,
}

impl Row {
    /// Compares a tensor with the fixture's. `sums` is the length of the longest sum on the way to it.
    pub fn new(
        case: &str,
        tensor: &str,
        backend: &str,
        dtype: DType,
        sums: usize,
        found: &[f32],
        expected: &[f32],
    ) -> Self {
        let comparison = Comparison::of(found, expected);
        Self {
            tensor: kind(tensor),
            backend: backend.to_owned(),
            dtype,
            case: case.to_owned(),
            name: tensor.to_owned(),
            comparison,
            bound: comparison.bound(dtype, sums),
        }
    }

    /// Measures the error against another magnitude than the largest expected: that of a whole tensor of which only
    /// samples are known, or of terms that cancel.
    #[must_use]
    pub fn with_scale(mut self, sums: usize, scale: f32) -> Self {
        self.comparison.scale = scale;
        self.bound = self.comparison.bound(self.dtype, sums);
        self
    }

    /// Whether the error is within the table.
    pub fn passed(&self) -> bool {
        self.comparison.error <= self.bound
    }

    /// Error over bound; above 1 is a failure.
    fn ratio(&self) -> f32 {
        match self.comparison.error {
            0.0 => 0.0,
            error => error / self.bound,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, dtype, case, name, comparison, bound, .. } = self;
        write!(f, "{case}: {name} on {backend} in {dtype}: {comparison}, bound {bound:.3e}")
    }
}

/// `encoder.layer.*.context` for the contexts of all layers.
fn kind(tensor: &str) -> String {
    let star =
        |part: &str| if part.bytes().all(|b| b.is_ascii_digit()) { "*".into() } else { part.to_owned() };
    tensor.split('.').map(star).collect::<Vec<_>>().join(".")
}

/// Fails with every row that is out of bounds.
///
/// # Errors
/// A line per such row.
pub fn verdict(rows: &[Row]) -> Result<(), String> {
    let lines: Vec<String> = rows.iter().filter(|row| !row.passed()).map(Row::to_string).collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

/// All rows of a run, from all threads.
#[derive(Debug, Default)]
pub struct Report(Mutex<Vec<Row>>);

impl Report {
    /// Adds rows.
    pub fn extend(&self, rows: impl IntoIterator<Item = Row>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(rows);
    }
}

/// A table: per op or layer, backend and precision the comparison that came closest to its bound, or went beyond.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut worst: BTreeMap<(&str, &str, String), (&Row, usize)> = BTreeMap::new();
        for row in rows.iter() {
            let entry = worst.entry((&row.tensor, &row.backend, row.dtype.to_string())).or_insert((row, 0));
            entry.1 += 1;
            if row.ratio() > entry.0.ratio() {
                entry.0 = row;
            }
        }
        writeln!(
            f,
            "{:<44} {:<13} {:<5} {:>9} {:>9} {:>6} {:>5}  closest case",
            "op or layer", "backend", "dtype", "error", "bound", "ratio", "cases"
        )?;
        for ((tensor, backend, dtype), (row, count)) in &worst {
            let mark = if row.passed() { ' ' } else { '!' };
            let Comparison { error, .. } = row.comparison;
            writeln!(
                f,
                "{tensor:<44} {backend:<13} {dtype:<5} {error:>9.2e} {:>9.2e} {:>6.3}{mark}{count:>5}  {}",
                row.bound,
                row.ratio(),
                row.case
            )?;
        }
        Ok(())
    }
}
