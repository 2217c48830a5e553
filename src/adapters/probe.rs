// Upstream: many
// Downstream: none
// Role: Trying a server once: what it answers, whether its version will do, how long it took.

//! Each adapter has a `probe` beside it that tries its server; the service hub gathers them.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};

/// The longest a server may take, connecting included.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What a server that answers says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What is worth knowing.
    pub facts: Vec<String>,
    /// Why the worker cannot use it although it answers.
    pub faults: Vec<String>,
}

impl Answer {
    /// An answer with this fact.
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

    /// Adds the version, as the server writes it: a fault where it is older than `least`.
    pub fn with_version(self, product: &str, version: &str, (major, minor): (u32, u32)) -> Self {
        let (version, least) = (version.trim(), format!("{major}.{minor}"));
        match number_of(version) {
            Some(found) if found >= (major, minor) => {
                self.with(format!("{product} {version} is supported ({least} or newer)"))
            }
            Some(_) => self.with_fault(format!("{product} {version} is not supported, but {least} or newer is")),
            None => self.with(format!("{product} {version:.40?}: whether it is {least} or newer cannot be told")),
        }
    }
}

/// The first two numbers of a version.
fn number_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

/// One server to try.
pub struct Probe {
    /// Its kind and address.
    pub target: String,
    /// The trying; the error is why there is no answer.
    pub run: BoxFuture<'static, Result<Answer, String>>,
}

/// What became of trying a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its kind and address.
    pub target: String,
    /// What it answered, or why it did not.
    pub outcome: Result<Answer, String>,
    /// How long that took.
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

/// Tries all servers at once; the reports come in the order of the probes.
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
        assert_eq!(judged("4.0.14").faults, ["Redis 4.0.14 is not supported, but 5.0 or newer is"]);
        assert!(judged("unknown").faults.is_empty() && judged("unknown").facts[0].contains("cannot be told"));
        assert_eq!(number_of("10.11.6-MariaDB-0+deb12u1"), Some((10, 11)));
        assert!(Answer::default().with_version("MariaDB", "10.2.44-MariaDB", (10, 3)).faults.len() == 1);
    }

    fn probe(target: &str, run: BoxFuture<'static, Result<Answer, String>>) -> Probe {
        Probe { target: target.to_owned(), run }
    }

    #[tokio::test]
    async fn all_are_tried_at_once() {
        // Each waits for the other: one after the other, neither would end.
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
    async fn one_that_does_not_answer_is_given_up_and_one_with_a_fault_is_not_good() {
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
