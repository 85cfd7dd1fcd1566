//! The metrics of the process, with the names that Prometheus gives them. Linux has them in `/proc`; a number that
//! cannot be read is left out.

use std::fmt::Result;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType::{Counter, Gauge};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit::{Bytes, Seconds};
use rustix::process::{Resource, getrlimit};

/// Reads the numbers when they are asked for.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result {
        let (help, unit) = ("Memory of the process that is in RAM", Some(&Bytes));
        if let Some(bytes) = resident_bytes() {
            let metric = encoder.encode_descriptor("process_resident_memory", help, unit, Gauge)?;
            ConstGauge::new(bytes).encode(metric)?;
        }
        if let Some(seconds) = cpu_seconds() {
            let help = "Time that the process has used on all processors";
            let metric = encoder.encode_descriptor("process_cpu", help, Some(&Seconds), Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        let max = getrlimit(Resource::Nofile).current.and_then(|max| i64::try_from(max).ok());
        for (name, help, number) in [
            ("process_open_fds", "Open file descriptors", open_descriptors()),
            ("process_max_fds", "The limit of open file descriptors", max),
        ] {
            if let Some(number) = number {
                ConstGauge::new(number).encode(encoder.encode_descriptor(name, help, None, Gauge)?)?;
            }
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(i64::try_from(rustix::param::page_size()).ok()?)
}

fn open_descriptors() -> Option<i64> {
    let names = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is that of the listing.
    i64::try_from(names.count()).ok().map(|count| count - 1)
}

fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have spaces.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    let ticks = ticks()? + ticks()?;
    #[expect(clippy::cast_precision_loss, reason = "it is 100")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(ticks / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_this_process() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(open_descriptors().unwrap() > 50);
        drop(files);
        let (begin, used) = (std::time::Instant::now(), cpu_seconds().unwrap());
        while cpu_seconds().unwrap() <= used {
            assert!(begin.elapsed().as_secs() < 30);
        }
    }
}
