// Upstream: tests::it
// Downstream: none
// Role: Parses Prometheus' text format: metric families with type, help text and labels, and series values.

use std::collections::{BTreeMap, BTreeSet};

/// One metric family. The label `le` of histograms is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The text of `# HELP`.
    pub help: String,
    /// The label names.
    pub labels: BTreeSet<String>,
}

/// A parsed page of metrics.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Families by name.
    pub families: BTreeMap<String, Family>,
    /// Every series as written on the page, with its value.
    pub series: Vec<(String, f64)>,
}

impl Page {
    /// Parses a page; an invalid line fails the test.
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                page.families.entry(name.to_owned()).or_default().help = help.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                page.families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else if !line.starts_with('#') {
                page.add_series(line);
            }
        }
        page
    }

    fn add_series(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("the value is not a number: {line}"));
        self.series.push((series.to_owned(), value));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = self.family_of(name).unwrap_or_else(|| panic!("a series without a metric family: {line}"));
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let name = label.split('=').next().unwrap_or_default();
            if name != "le" {
                family.labels.insert(name.to_owned());
            }
        }
    }

    fn family_of(&mut self, name: &str) -> Option<&mut Family> {
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let bare = name.strip_suffix(suffix)?;
            self.families.get(bare).is_some_and(|family| family.kind == "histogram").then_some(bare)
        });
        self.families.get_mut(bare.unwrap_or(name))
    }

    /// The sum of all series with this metric name whose text contains all of `parts`, such as `class="transient"`.
    pub fn value(&self, name: &str, parts: &[&str]) -> f64 {
        let fits =
            |series: &str| series.split('{').next() == Some(name) && parts.iter().all(|part| series.contains(part));
        self.series.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }
}
