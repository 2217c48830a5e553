// Upstream: files, fixture_tests, sources
// Downstream: many
// Role: Market data from a folder of CSV and Parquet files.

use std::io;
use std::path::PathBuf;

use actors::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, Frequency, SourceId,
};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use async_trait::async_trait;
use chrono::NaiveDate;

use super::bars::Units;
use super::lists::{STOCKS, TRADE_DAYS};
use super::table::Table;
use super::{bars, lists, table};
use crate::adapters::probe::Answer;
use crate::config::FilesSection;
use crate::sources::SourceSetupError;

/// The name in configuration, logs and reports.
const NAME: &str = "files";
/// A table of daily bars is named by its code and this suffix.
const DAILY: &str = ".daily";

/// A source that reads a folder of files.
#[derive(Debug)]
pub struct FilesSource {
    folder: PathBuf,
    units: Units,
}

impl FilesSource {
    /// Creates the source. Fails if the folder does not exist.
    pub fn new(section: &FilesSection) -> Result<Self, SourceSetupError> {
        let bad_folder = |reason: &str| SourceSetupError::BadFolder {
            folder: section.folder.display().to_string(),
            reason: reason.to_owned(),
        };
        if section.folder.as_os_str().is_empty() {
            return Err(bad_folder("it is not set"));
        }
        match section.folder.metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(bad_folder("it is not a folder")),
            Err(error) => return Err(bad_folder(&error.to_string())),
        }
        let units = Units { volume: section.volume_unit, amount: section.amount_unit };
        Ok(Self { folder: section.folder.clone(), units })
    }

    /// Probes the folder: counts its tables of daily bars.
    pub async fn probe(&self) -> io::Result<Answer> {
        let folder = self.folder.clone();
        let counting = tokio::task::spawn_blocking(move || {
            let names = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.file_name()));
            Ok(names.filter(|name| table::is_table(&name.to_string_lossy(), DAILY)).count())
        });
        let num_files = counting.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        let answer = Answer::of(format!("files of daily bars: {num_files}"));
        Ok(if num_files > 0 {
            answer
        } else {
            answer.with_fault(format!("no file ends in {DAILY}.csv or {DAILY}.parquet"))
        })
    }
}

/// The name of a table of bars. A code has a fixed format, so the path cannot leave the folder.
fn bars_of(code: Code, frequency: Frequency) -> String {
    match frequency {
        Frequency::Day => format!("{code}{DAILY}"),
        minutes => format!("{code}.{minutes}"),
    }
}

/// Reads a file on a blocking thread, so that the arbiter is not blocked.
async fn read_blocking<R: Send + 'static>(
    request: String,
    reading: impl FnOnce() -> Result<Vec<R>, SourceErrorKind> + Send + 'static,
) -> Result<Vec<R>, SourceError> {
    let outcome = tokio::task::spawn_blocking(reading).await;
    let outcome = outcome.unwrap_or_else(|error| Err(SourceErrorKind::BadAnswer(format!("reading failed: {error}"))));
    outcome.map_err(|kind| SourceError { source_name: NAME, request, kind })
}

#[async_trait]
impl MarketSource for FilesSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> SourceId {
        SourceId::OTHER
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        let BarRequest { code, frequency, range } = *request;
        let (folder, units) = (self.folder.clone(), self.units);
        read_blocking(format!("bars {code} {frequency} {range}"), move || {
            let mut bars =
                Table::read(&folder, &bars_of(code, frequency), |table| bars::parse(table, units, frequency))?;
            // A row with an unreadable day may belong to any range. It is passed on, so that it is reported.
            bars.retain(|bar| match &bar.timestamp {
                Field::Value(timestamp) => range.contains(timestamp.date()),
                Field::Missing | Field::Unreadable(_) => true,
            });
            Ok(bars)
        })
        .await
    }

    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        let folder = self.folder.clone();
        read_blocking(format!("ticks {code} {day}"), move || {
            let mut ticks = Table::read(&folder, &format!("{code}.ticks"), lists::ticks)?;
            ticks.retain(|tick| match &tick.timestamp {
                Field::Value(timestamp) => timestamp.date() == day,
                Field::Missing | Field::Unreadable(_) => true,
            });
            Ok(ticks)
        })
        .await
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let folder = self.folder.clone();
        read_blocking(format!("factors {code} {range}"), move || {
            let mut factors = Table::read(&folder, &format!("{code}.factors"), lists::factors)?;
            factors.retain(|row| match &row.timestamp {
                Field::Value(timestamp) => range.contains(timestamp.date()),
                Field::Missing | Field::Unreadable(_) => true,
            });
            Ok(factors)
        })
        .await
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        let folder = self.folder.clone();
        read_blocking("stock list".to_owned(), move || Table::read(&folder, STOCKS, lists::stocks)).await
    }

    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        let folder = self.folder.clone();
        read_blocking("calendar".to_owned(), move || Table::read(&folder, TRADE_DAYS, lists::trade_days)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn source(folder: &Path) -> FilesSource {
        FilesSource::new(&FilesSection { folder: folder.to_owned(), ..FilesSection::default() }).unwrap()
    }

    fn request(code: &str, start: &str, end: &str) -> BarRequest {
        let range = DateRange { start: start.parse().unwrap(), end: end.parse().unwrap() };
        BarRequest { code: code.parse().unwrap(), frequency: Frequency::Day, range }
    }

    #[tokio::test]
    async fn the_sample_is_read_in_ginkgos_units() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
        let source = source(&folder);
        let all = source.bars(&request("002032.SZ", "1990-12-19", "2030-01-01")).await.unwrap();
        assert_eq!(all.len(), 2813);
        let first = source.bars(&request("002032.SZ", "2004-08-17", "2004-08-17")).await.unwrap();
        let value = |text: &str| Field::Value(text.parse().unwrap());
        let expected = FetchedBar {
            timestamp: Field::Value(NaiveDate::from_ymd_opt(2004, 8, 17).unwrap().and_hms_opt(0, 0, 0).unwrap()),
            open: value("12.21"),
            high: value("12.21"),
            low: value("11.03"),
            close: value("11.20"),
            volume: value("78779"),
            amount: value("90923.24"),
        };
        assert_eq!(first, [expected]);
    }

    #[tokio::test]
    async fn samples_of_every_kind_are_read_and_documented() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/files.md")).unwrap();
        for file in ["daily", "5m", "ticks", "factors"]
            .map(|kind| format!("000000.SZ.{kind}.csv"))
            .into_iter()
            .chain(["stocks.csv", "trade_days.csv"].map(str::to_owned))
        {
            let text = std::fs::read_to_string(folder.join(&file)).unwrap();
            let example = text.lines().take(2).map(|line| format!("`{line}`")).collect::<Vec<_>>().join("<br>");
            assert!(page.contains(&example), "docs/files.md shows other lines than {file}: {example}");
        }
        let (source, code) = (source(&folder), "000000.SZ".parse().unwrap());
        let day: NaiveDate = "2004-08-17".parse().unwrap();
        let range = DateRange { start: day, end: "2010-01-01".parse().unwrap() };
        let of = |frequency| BarRequest { code, frequency, range };
        assert_eq!(source.bars(&of(Frequency::Day)).await.unwrap().len(), 11);
        let minutes = source.bars(&of(Frequency::Minute5)).await.unwrap();
        let ticks = source.ticks(code, day).await.unwrap();
        let factors = source.factors(code, range).await.unwrap();
        let (stocks, days) = (source.stocks().await.unwrap(), source.trade_days().await.unwrap());
        assert_eq!([minutes.len(), ticks.len(), factors.len(), stocks.len(), days.len()], [2, 2, 2, 2, 3]);
        let is_read = |field: bool| assert!(field, "a sample has a cell that cannot be read");
        minutes
            .iter()
            .for_each(|bar| is_read(matches!((&bar.timestamp, &bar.amount), (Field::Value(_), Field::Value(_)))));
        ticks
            .iter()
            .for_each(|tick| is_read(matches!((&tick.timestamp, &tick.price), (Field::Value(_), Field::Value(_)))));
        factors
            .iter()
            .for_each(|row| is_read(matches!((&row.timestamp, &row.factor), (Field::Value(_), Field::Value(_)))));
        days.iter().for_each(|row| is_read(matches!((&row.date, &row.is_open), (Field::Value(_), Field::Value(_)))));
        assert_eq!(stocks[0].delist_date, Field::Missing, "an empty cell: it is listed");
    }

    #[tokio::test]
    async fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path());
        let unknown = source.bars(&request("000001.SZ", "2024-01-01", "2024-01-31")).await.unwrap_err();
        assert!(matches!(unknown.kind, SourceErrorKind::BadRequest(_)), "{unknown}");
        assert!(unknown.to_string().contains("000001.SZ.daily.csv"), "{unknown}");
        std::fs::create_dir(folder.path().join("000001.SZ.daily.csv")).unwrap();
        let directory = source.bars(&request("000001.SZ", "2024-01-01", "2024-01-31")).await.unwrap_err();
        assert!(directory.to_string().contains("is not a file"), "{directory}");
        std::fs::write(folder.path().join("000002.SZ.daily.csv"), "date,open\n").unwrap();
        let headless = source.bars(&request("000002.SZ", "2024-01-01", "2024-01-31")).await.unwrap_err();
        assert!(matches!(headless.kind, SourceErrorKind::BadAnswer(_)), "{headless}");
        assert!(headless.to_string().contains("000002.SZ.daily.csv: line 1: column `high` is missing"), "{headless}");
    }

    #[test]
    fn rejects_invalid_folders() {
        for folder in ["", "no such folder", "/dev/null"] {
            let error = FilesSource::new(&FilesSection { folder: folder.into(), ..FilesSection::default() });
            assert!(error.unwrap_err().to_string().contains("sources.files.folder"), "{folder}");
        }
    }
}
