// Upstream: parquet_table
// Downstream: none
// Role: Reads the pages of a Parquet column and limits their decompressed size.

//! The library trusts the sizes that a page or its compression claims. So it reads the pages here as if they were not
//! compressed, and this module decompresses them with a limit.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

/// Maximum size of a page. Most writers make pages of about 1 MB; one makes pages of 120,000 rows of any size.
const MAX_PAGE_BYTES: usize = 16 << 20;
/// Maximum window of a Zstandard stream, as a power of two. No page is larger.
const MAX_WINDOW_LOG: u32 = 24;

/// The pages of one column of one row group.
pub struct BoundedPages<R: ChunkReader> {
    inner: SerializedPageReader<R>,
    compression: Compression,
    max_values: usize,
    has_dictionary: bool,
}

impl<R: ChunkReader> BoundedPages<R> {
    /// Reads the pages of a column. Each has at most `max_values` values.
    pub fn new(file: Arc<R>, chunk: &ColumnChunkMetaData, max_values: usize) -> Result<Self> {
        let compression = chunk.compression();
        let known = matches!(
            compression,
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_)
        );
        if !known {
            return Err(refusal(format!("compression {compression} is not supported; use snappy, zstd or gzip")));
        }
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        let end = start.checked_add(chunk.compressed_size()).and_then(|end| u64::try_from(end).ok());
        if start < 0 || chunk.compressed_size() < 0 || end.is_none_or(|end| end > file.len()) {
            return Err(refusal("its position is outside the file".to_owned()));
        }
        let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let inner = SerializedPageReader::new(file, &plain, 0, None)?;
        Ok(Self { inner, compression, max_values, has_dictionary: false })
    }

    /// Rejects pages on which the library panics or for which it reserves memory without a limit.
    fn check(&mut self, page: &Page) -> Result<()> {
        let (num_values, encoding) = (page.num_values(), page.encoding());
        if num_values as usize > self.max_values {
            return Err(refusal(format!("a page has {num_values} values, more than {}", self.max_values)));
        }
        match encoding {
            Encoding::PLAIN | Encoding::RLE | Encoding::DELTA_BINARY_PACKED => {}
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY
                if page.is_dictionary_page() || self.has_dictionary => {}
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => {
                return Err(refusal("a page needs a dictionary, but there is none".to_owned()));
            }
            _ => {
                return Err(refusal(format!("encoding {encoding} is not supported; use plain, dictionary or packed")));
            }
        }
        self.has_dictionary |= page.is_dictionary_page();
        Ok(())
    }

    fn bounded(&mut self, page: Page) -> Result<Page> {
        self.check(&page)?;
        Ok(match page {
            Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics } => {
                let buf = decompress(self.compression, &buf)?;
                Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
            }
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                let buf = decompress(self.compression, &buf)?;
                Page::DictionaryPage { buf, num_values, encoding, is_sorted }
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                statistics,
            } => {
                // Levels precede the values and are not compressed.
                let levels = u64::from(def_levels_byte_len) + u64::from(rep_levels_byte_len);
                let parts = usize::try_from(levels).ok().and_then(|levels| buf.split_at_checked(levels));
                let (levels, values) = parts
                    .ok_or_else(|| refusal(format!("a page has fewer bytes than its {levels} bytes of levels")))?;
                let compression = if is_compressed { self.compression } else { Compression::UNCOMPRESSED };
                let buf = match values {
                    [] => buf,
                    values => Bytes::from([levels, &decompress(compression, values)?].concat()),
                };
                Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
        })
    }
}

fn refusal(what: String) -> ParquetError {
    ParquetError::General(what)
}

fn decompress(compression: Compression, bytes: &[u8]) -> Result<Bytes> {
    let failed = |error: std::io::Error| refusal(format!("a page cannot be decompressed: {error}"));
    let too_large = || refusal(format!("a page has more than {MAX_PAGE_BYTES} bytes"));
    let plain = match compression {
        Compression::SNAPPY => {
            let length = snap::raw::decompress_len(bytes).map_err(|error| failed(error.into()))?;
            if length > MAX_PAGE_BYTES {
                return Err(too_large());
            }
            snap::raw::Decoder::new().decompress_vec(bytes).map_err(|error| failed(error.into()))?
        }
        Compression::GZIP(_) => read_bounded(MultiGzDecoder::new(bytes)).map_err(failed)?,
        Compression::ZSTD(_) => {
            let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(failed)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(failed)?;
            read_bounded(decoder).map_err(failed)?
        }
        _ if bytes.len() > MAX_PAGE_BYTES => return Err(too_large()),
        _ => bytes.to_vec(),
    };
    if plain.len() > MAX_PAGE_BYTES { Err(too_large()) } else { Ok(plain.into()) }
}

fn read_bounded(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(MAX_PAGE_BYTES as u64 + 1).read_to_end(&mut plain)?;
    Ok(plain)
}

impl<R: ChunkReader> Iterator for BoundedPages<R> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<R: ChunkReader> PageReader for BoundedPages<R> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.inner.get_next_page()?.map(|page| self.bounded(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}
