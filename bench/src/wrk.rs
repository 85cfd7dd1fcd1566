//! HTTP load by `wrk`: keep-alive connections, each of which sends a request after each complete response. It uses one
//! thread, to take little time from the measured servers.

use std::process::Command;
use std::time::Duration;

use crate::places;
use crate::turns::float;

/// What to send.
#[derive(Clone)]
pub(crate) struct Load {
    url: String,
    connections: usize,
    /// A file of `bench/peers` that makes the requests, and its arguments.
    script: Option<(&'static str, Vec<String>)>,
}

/// What `wrk` reports.
pub(crate) struct Report {
    /// All responses.
    pub(crate) responses: usize,
    /// Responses that are not 2xx or 3xx.
    pub(crate) failed: usize,
    /// The errors of connections, as `wrk` counts them.
    pub(crate) broken: usize,
    /// Responses per second.
    per_second: f64,
    /// The time within which 999 of 1,000 responses arrived, in milliseconds. Only some scripts report it.
    pub(crate) slowest_ms: Option<f64>,
}

impl Load {
    /// GET requests for one path.
    pub(crate) fn get(port: u16, path: &str, connections: usize) -> Self {
        Self { url: format!("http://127.0.0.1:{port}{path}"), connections, script: None }
    }

    /// The requests of a script.
    pub(crate) fn script(port: u16, connections: usize, script: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { script: Some((script, arguments)), ..Self::get(port, "/", connections) }
    }

    /// Sends requests for this time, in whole seconds.
    pub(crate) fn run(&self, time: Duration) -> Report {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{}", self.connections), &format!("-d{}s", time.as_secs()), "--timeout", "10s"]);
        if let Some((script, _)) = &self.script {
            wrk.arg("-s").arg(places::peer(script));
        }
        wrk.arg(&self.url);
        if let Some((_, arguments)) = &self.script {
            wrk.arg("--").args(arguments);
        }
        let output = wrk.output().unwrap_or_else(|e| panic!("{wrk:?}: {e}; see tests/packages.sh"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{wrk:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        Report::parse(&text)
    }

    /// Sends requests for this time, all of which must be answered. Returns the responses per second.
    pub(crate) fn rate(&self, time: Duration) -> f64 {
        let report = self.run(time);
        assert_eq!((report.failed, report.broken), (0, 0), "{}: failed responses, broken connections", self.url);
        report.rate()
    }
}

impl Report {
    fn parse(text: &str) -> Self {
        let number = |text: &str| text.trim().parse::<f64>().unwrap_or_else(|_| panic!("wrk: no number in {text}"));
        let count = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("wrk: no number in {text}"));
        let after = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark));
        let responses = text.lines().find_map(|line| line.trim().split_once(" requests in "));
        let errors = after("Socket errors:").unwrap_or("");
        Self {
            responses: count(responses.unwrap_or_else(|| panic!("wrk: {text}")).0),
            failed: after("Non-2xx or 3xx responses:").map_or(0, count),
            broken: errors.split(',').filter_map(|error| error.split_whitespace().last()).map(count).sum(),
            per_second: after("Requests/sec:").map_or(0.0, number),
            slowest_ms: after("p99.9:").map(|time| number(time.trim_end_matches(" us")) / 1000.0),
        }
    }

    /// Successful responses per second.
    pub(crate) fn rate(&self) -> f64 {
        self.per_second * (1.0 - float(self.failed) / float(self.responses.max(1)))
    }
}
