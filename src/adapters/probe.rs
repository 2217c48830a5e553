// Upstream: many
// Downstream: none
// Role: Tests the connection to each server: reachability, supported version, latency.

//! Connection tests. Each adapter provides a `probe` for its server; the service hub collects them.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};

/// Maximum time for one server, including the connection setup.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// The result of a probe whose server answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Facts for the operator, such as the version.
    pub facts: Vec<String>,
    /// Reasons why the worker cannot use the server although it answers.
    pub faults: Vec<String>,
}

impl Answer {
    /// An answer with one fact.
    pub fn of(fact: impl Into<String>) -> Self {
        Self::default().with(fact)
    }

    /// Adds a fact.
    pub fn with(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }

    /// Adds a fault.
    pub fn with_fault(mut self, fault: impl Into<String>) -> Self {
        self.faults.push(fault.into());
        self
    }

    /// Adds the version that the server reports. A version older than the given minimum is a fault.
    pub fn with_version(self, product: &str, version: &str, (major, minor): (u32, u32)) -> Self {
        let (version, least) = (version.trim(), format!("{major}.{minor}"));
        match number_of(version) {
            Some(found) if found >= (major, minor) => {
                self.with(format!("{product} {version} is supported ({least} or newer)"))
            }
            Some(_) => self.with_fault(format!("{product} {version} is not supported; {least} or newer is required")),
            None => self.with(format!("{product} {version:.40?}: cannot check whether it is {least} or newer")),
        }
    }
}

/// The first two numbers of a version, such as (10, 11).
fn number_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

/// The connection test of one server.
pub struct Probe {
    /// Kind and address of the server.
    pub target: String,
    /// The test itself. The error is the reason why there is no answer.
    pub run: BoxFuture<'static, Result<Answer, String>>,
}

/// The result of one connection test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Kind and address of the server.
    pub target: String,
    /// The answer, or the reason why there is none.
    pub outcome: Result<Answer, String>,
    /// Duration of the test.
    pub latency: Duration,
}

impl Report {
    /// Whether the worker can use the server.
    pub fn is_good(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|answer| answer.faults.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_good() { "ok" } else { "FAILED" };
        let latency_ms = self.latency.as_millis();
        let text = match &self.outcome {
            Ok(answer) => answer.faults.iter().chain(&answer.facts).cloned().collect::<Vec<_>>().join("; "),
            Err(reason) => reason.clone(),
        };
        write!(f, "{:<7}{} in {latency_ms} ms: {text}", word, self.target)
    }
}

/// Runs all probes concurrently. The reports are in the order of the probes.
pub async fn run_all(probes: Vec<Probe>, deadline: Duration) -> Vec<Report> {
    join_all(probes.into_iter().map(|probe| async move {
        let begin = Instant::now();
        let outcome = tokio::time::timeout(deadline, probe.run).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {deadline:?}")));
        Report { target: probe.target, outcome, latency: begin.elapsed() }
    }))
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::Arc;

    #[test]
    fn a_version_is_judged_by_its_first_two_numbers() {
        let judged = |version: &str| Answer::default().with_version("Redis", version, (5, 0));
        assert_eq!(judged("7.0.15").facts, ["Redis 7.0.15 is supported (5.0 or newer)"]);
        assert_eq!(judged("5").faults, [""; 0]);
        assert_eq!(judged("4.0.14").faults, ["Redis 4.0.14 is not supported; 5.0 or newer is required"]);
        assert!(judged("unknown").faults.is_empty() && judged("unknown").facts[0].contains("cannot check"));
        assert_eq!(number_of("10.11.6-MariaDB-0+deb12u1"), Some((10, 11)));
        assert!(Answer::default().with_version("MariaDB", "10.2.44-MariaDB", (10, 3)).faults.len() == 1);
    }

    fn probe(target: &str, run: BoxFuture<'static, Result<Answer, String>>) -> Probe {
        Probe { target: target.to_owned(), run }
    }

    #[tokio::test]
    async fn all_are_tried_at_once() {
        // Each probe waits for the other one, so sequential execution would never finish.
        let meeting = Arc::new(tokio::sync::Barrier::new(2));
        let probes = ["a", "b"].map(|target| {
            let meeting = meeting.clone();
            let run = async move {
                meeting.wait().await;
                Ok(Answer::of("met"))
            };
            probe(target, run.boxed())
        });
        let reports = run_all(probes.into(), DEADLINE).await;
        assert!(reports.iter().all(Report::is_good), "{reports:?}");
        assert_eq!(reports.iter().map(|report| report.target.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[tokio::test]
    async fn silent_and_faulty_probes_are_not_good() {
        let deadline = Duration::from_millis(20);
        let old = async { Ok(Answer::of("old").with_fault("too old")) };
        let probes = vec![probe("silent", std::future::pending().boxed()), probe("old", old.boxed())];
        let reports = run_all(probes, deadline).await;
        assert!(!reports[0].is_good() && !reports[1].is_good());
        assert!(reports[0].latency >= deadline);
        assert_eq!(reports[0].outcome, Err("no answer within 20ms".to_owned()));
        let text = reports[1].to_string();
        assert!(text.starts_with("FAILED old in ") && text.ends_with("ms: too old; old"), "{text}");
    }
}
