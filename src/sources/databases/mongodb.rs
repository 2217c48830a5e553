// Upstream: source, sources
// Downstream: many
// Role: Reads market data from a user's MongoDB.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use ::mongodb::bson::{Bson, DateTime, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use ::mongodb::error::{Error, ErrorKind};
use ::mongodb::options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions};
use ::mongodb::{Client, Collection};
use chrono::NaiveDateTime;
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;

use super::database::{Database, Found, MAX_TABLES};
use super::errors::DatabaseError;
use super::pattern::Pattern;
use super::query::{Query, Wanted};
use super::rows::{Cell, Rows};
use super::times::{Bound, midnight};
use crate::config::{MongoDates, MongoDbSourceSection};
use crate::sources::shared::excerpt::excerpt;

/// Documents per answer. Documents are small, so an answer has about a megabyte.
const BATCH: u32 = 5_000;
const DAY_MS: i64 = 86_400_000;

/// A client of a user's MongoDB.
pub struct MongoDbDatabase {
    options: ClientOptions,
    database: String,
    dates: MongoDates,
    /// Created on first use, because its tasks need a runtime.
    client: OnceCell<Client>,
}

impl MongoDbDatabase {
    /// Creates the client's options. It connects on first use.
    pub fn new(section: &MongoDbSourceSection) -> Self {
        let timeout = Duration::from_millis(section.timeout_ms);
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp { host: section.host.clone(), port: Some(section.port) }];
        options.connect_timeout = Some(timeout);
        options.server_selection_timeout = Some(timeout);
        options.max_pool_size = Some(section.max_concurrent);
        // The driver must not retry: one call is one attempt.
        options.retry_reads = Some(false);
        options.app_name = Some("ginkgo-data-worker".to_owned());
        if section.tls {
            let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
            let mut tls = TlsOptions::default();
            tls.ca_file_path = file(&section.ca_file);
            tls.cert_key_file_path = file(&section.certificate_file);
            options.tls = Some(Tls::Enabled(tls));
        }
        if !section.user.is_empty() {
            let mut login = Credential::default();
            login.username = Some(section.user.clone());
            login.source = Some(section.login_database.clone());
            login.password = section.password.as_ref().map(|password| password.expose_secret().to_owned());
            options.credential = Some(login);
        }
        Self { options, database: section.database.clone(), dates: section.dates, client: OnceCell::new() }
    }

    async fn database(&self) -> Result<::mongodb::Database, Error> {
        let connect = async || Client::with_options(self.options.clone());
        Ok(self.client.get_or_try_init(connect).await?.database(&self.database))
    }

    async fn has(&self, collection: &str) -> Result<bool, Error> {
        let names = self.database().await?.list_collection_names().filter(doc! { "name": collection }).await?;
        Ok(!names.is_empty())
    }

    /// The filter of a query. A time column may hold dates, texts or numbers. Each type is compared only with bounds of
    /// the same type.
    fn filter(&self, query: &Query) -> Document {
        let mut filter = Document::new();
        for (name, wanted) in &query.wanted {
            filter.insert(
                name,
                match wanted {
                    Wanted::Text(text) => Bson::String(text.clone()),
                    Wanted::Number(number) => Bson::Int64(*number),
                },
            );
        }
        let (Some((name, from, before)), Some(range)) = (&query.between, query.range) else { return filter };
        let between = |from: Bson, before: Bson| doc! { name: { "$gte": from, "$lt": before } };
        let mut ways = Vec::new();
        match (from, before) {
            (Bound::Text(from), Bound::Text(before)) => {
                // Wall-clock times stored as if they were UTC are up to a day off.
                let day = if self.dates == MongoDates::WallClock { DAY_MS } else { 0 };
                let end = range.end.succ_opt().unwrap_or(range.end);
                let date = |seconds: i64, more: i64| Bson::DateTime(DateTime::from_millis(seconds * 1_000 + more));
                ways.push(between(date(midnight(range.start), -day), date(midnight(end), day)));
                if let (Ok(from), Ok(before)) = (from.parse::<i64>(), before.parse::<i64>()) {
                    ways.push(between(from.into(), before.into()));
                }
                ways.push(between(from.clone().into(), before.clone().into()));
            }
            (Bound::Number(from), Bound::Number(before)) => ways.push(between((*from).into(), (*before).into())),
            _ => {}
        }
        filter.insert("$or", ways);
        filter
    }

    fn cell<'d>(&self, value: RawBsonRef<'d>) -> Cell<'d> {
        Some(match value {
            RawBsonRef::Null | RawBsonRef::Undefined => return None,
            RawBsonRef::String(text) => Cow::Borrowed(text),
            RawBsonRef::Boolean(is_so) => if is_so { "1" } else { "0" }.into(),
            RawBsonRef::Int32(number) => number.to_string().into(),
            RawBsonRef::Int64(number) => number.to_string().into(),
            RawBsonRef::Double(number) if number.is_nan() => return None,
            RawBsonRef::Double(number) => number.to_string().into(),
            RawBsonRef::Decimal128(number) => number.to_string().into(),
            RawBsonRef::DateTime(time) => self.time(time).into(),
            other => format!("{:?}", other.element_type()).into(),
        })
    }

    fn time(&self, time: DateTime) -> String {
        let Some(instant) = chrono::DateTime::from_timestamp_millis(time.timestamp_millis()) else {
            return format!("{} ms", time.timestamp_millis());
        };
        let clock: NaiveDateTime = instant.naive_utc();
        match self.dates {
            MongoDates::Instants => format!("{}Z", clock.format("%Y-%m-%dT%H:%M:%S")),
            MongoDates::WallClock => clock.format("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    fn take(&self, document: &RawDocument, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        let bad =
            |error: ::mongodb::bson::error::Error| DatabaseError::bad_row(&query.table, rows.num_rows() + 1, error, "");
        let mut cells = Vec::with_capacity(query.columns.len());
        for name in &query.columns {
            let value = name.as_deref().map_or(Ok(None), |name| document.get(name)).map_err(bad)?;
            cells.push(value.and_then(|value| self.cell(value)));
        }
        rows.push(&cells)
    }
}

impl Database for MongoDbDatabase {
    const WHAT: &'static str = "collection";
    const IS_STRICT: bool = false;

    async fn read(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        let failed = |error: Error| meaning(&error, &query.table);
        let mut fields = doc! { "_id": 0 };
        for name in query.columns.iter().flatten() {
            fields.insert(name, 1);
        }
        let most = i64::try_from(query.max_rows.saturating_add(1)).unwrap_or(i64::MAX);
        let collection: Collection<RawDocumentBuf> = self.database().await.map_err(failed)?.collection(&query.table);
        let mut cursor = collection
            .find(self.filter(query))
            .projection(fields)
            .limit(most)
            .batch_size(BATCH)
            .await
            .map_err(failed)?;
        while cursor.advance().await.map_err(failed)? {
            self.take(cursor.current(), query, rows)?;
        }
        // A missing collection looks like an empty one.
        if rows.num_rows() == 0 && !self.has(&query.table).await.map_err(failed)? {
            return Err(DatabaseError::NoTable { what: Self::WHAT, table: query.table.clone() });
        }
        Ok(())
    }

    async fn find(&self, pattern: &Pattern) -> Result<Found, DatabaseError> {
        let failed = |error: Error| meaning(&error, pattern.as_str());
        let database = self.database().await.map_err(failed)?;
        let mut names = database.list_collection_names().await.map_err(failed)?;
        names.sort_unstable();
        names.truncate(MAX_TABLES);
        let Some(name) = names.iter().find(|name| pattern.may_be(name)).cloned() else {
            return Ok(Found::Nothing(names));
        };
        let first = database.collection::<Document>(&name).find_one(doc! {}).await.map_err(failed)?;
        Ok(match first {
            Some(document) => Found::Table { name, columns: document.keys().cloned().collect() },
            None => Found::Empty(name),
        })
    }
}

/// Maps a driver error to a database error. The numbers are from MongoDB's `error_codes.yml`.
fn meaning(error: &Error, table: &str) -> DatabaseError {
    let reason = excerpt(&error.to_string());
    match &*error.kind {
        ErrorKind::Authentication { .. } => DatabaseError::Login(reason),
        ErrorKind::Command(command) => match command.code {
            18 => DatabaseError::Login(reason),
            13 => DatabaseError::Access(reason),
            26 => DatabaseError::NoTable { what: MongoDbDatabase::WHAT, table: table.to_owned() },
            2 | 9 | 14 | 73 => DatabaseError::Refused { table: table.to_owned(), reason },
            _ => DatabaseError::Server(reason),
        },
        ErrorKind::Io(_) | ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. } => {
            DatabaseError::Unreachable(reason)
        }
        _ => DatabaseError::Server(reason),
    }
}
