//! Distributions in the percentile form of HdrHistogram (`.hgrm`), which its plotter and other tools read:
//! one row per percentile, five for each halving of the rest, then a footer. Values are in microseconds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

/// Rows for each halving of the distance to 100 %, as in HdrHistogram's own tools.
const TICKS_PER_HALF: u32 = 5;
const NS_PER_US: f64 = 1e3;

/// Writes `histogram` (nanoseconds) to `PREFIX.NAME.hgrm`, and replaces what was there.
pub(crate) fn save(prefix: &Path, name: &str, histogram: &Histogram<u64>) -> io::Result<()> {
    let path = path(prefix, name);
    File::create(&path)
        .and_then(|file| {
            let mut out = BufWriter::new(file);
            write(&mut out, histogram)?;
            out.flush()
        })
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))
}

/// Where the latency called `name` is written to.
pub(crate) fn path(prefix: &Path, name: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(format!(".{name}.hgrm"));
    PathBuf::from(path)
}

/// The rows of such a text: quantile (0 to 1) and microseconds.
pub(crate) fn rows(text: &str) -> Vec<(f64, f64)> {
    let numbers = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (value, quantile) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((quantile, value))
    });
    numbers.collect()
}

/// The text of `outputPercentileDistribution` in HdrHistogram, byte for byte.
fn write<W: Write>(out: &mut W, histogram: &Histogram<u64>) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let digits = usize::from(histogram.sigfig());
    let mut total = 0;
    for row in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += row.count_since_last_iteration();
        let (value, quantile) = (row.value_iterated_to() as f64 / NS_PER_US, row.quantile_iterated_to());
        write!(out, "{value:12.digits$} {quantile:.12} {total:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_US, histogram.stdev() / NS_PER_US);
    let max = histogram.max() as f64 / NS_PER_US;
    writeln!(out, "#[Mean    = {mean:12.digits$}, StdDeviation   = {deviation:12.digits$}]")?;
    writeln!(out, "#[Max     = {max:12.digits$}, Total count    = {:12}]", histogram.len())?;
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), sub_buckets(histogram))
}

/// The smallest power of two that tells apart twice as many values as the significant digits ask for.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_the_plotter_reads() {
        let mut histogram = Histogram::new_with_max(120_000_000_000, 3).expect("bounds that are accepted");
        for ns in [1000, 1000, 2000, 2000] {
            histogram.record(ns).expect("a value within the bounds");
        }
        let mut out = Vec::new();
        write(&mut out, &histogram).expect("a Vec takes it");
        let expected = "       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          2           1.00
       1.000 0.100000000000          2           1.11
       1.000 0.200000000000          2           1.25
       1.000 0.300000000000          2           1.43
       1.000 0.400000000000          2           1.67
       1.000 0.500000000000          2           2.00
       2.000 0.550000000000          4           2.22
       2.000 1.000000000000          4
#[Mean    =        1.500, StdDeviation   =        0.500]
#[Max     =        2.000, Total count    =            4]
#[Buckets =           27, SubBuckets     =         2048]
";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
        let rows = rows(expected);
        assert_eq!((rows.len(), rows[5], rows[7]), (8, (0.5, 1.0), (1.0, 2.0)));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let histogram = Histogram::new(3).expect("digits that are accepted");
        let error = save(Path::new("/nonexistent/run"), "session", &histogram).expect_err("no such folder");
        assert!(error.to_string().contains("/nonexistent/run.session.hgrm"), "{error}");
    }
}
