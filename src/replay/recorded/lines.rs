//! Reads the lines of a log, and reports malformed ones.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use super::{Kind, Line};

/// The lines of a file in their order; one is held at a time.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: u64,
    bytes: Vec<u8>,
}

/// A line as it stands in the file.
pub(crate) struct Text<'a> {
    /// Counted from 1.
    pub(crate) number: u64,
    /// How much of the file it takes.
    pub(crate) length: u64,
    pub(crate) end: End,
    bytes: &'a [u8],
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    LineFeed,
    /// It is the last, and was cut while it was written, or is being written; or only the line feed is missing.
    Nowhere,
    /// It goes on for longer than any line of a gateway, and was read no further.
    TooLong,
}

impl Lines {
    /// Those of the first so many bytes of a file.
    pub(crate) fn of(file: File, length: u64) -> Self {
        Self {
            reader: plain(BufReader::with_capacity(BUFFER, file.take(length))),
            number: 0,
            bytes: Vec::new(),
        }
    }

    /// The next one, or none where the file ends.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn read(&mut self) -> io::Result<Option<Text<'_>>> {
        self.bytes.clear();
        let mut length = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut self.bytes)?;
        self.number += 1;
        let end = match self.bytes.last() {
            None => return Ok(None),
            Some(b'\n') => End::LineFeed,
            Some(_) => match self.reader.skip_until(b'\n')? {
                0 => End::Nowhere,
                rest => {
                    length += rest;
                    End::TooLong
                }
            },
        };
        Ok(Some(Text {
            number: self.number,
            length: length as u64,
            end,
            bytes: &self.bytes,
        }))
    }
}

impl<'a> Text<'a> {
    /// A line that stands in no file.
    pub(crate) fn alone(text: &'a str) -> Self {
        Self {
            number: 1,
            length: text.len() as u64,
            end: End::Nowhere,
            bytes: text.as_bytes(),
        }
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// Whether any of these words is in it; that is found much faster than what it means.
    pub(crate) fn has_any(&self, words: &[&str]) -> bool {
        let text = String::from_utf8_lossy(self.bytes);
        words.iter().any(|word| text.contains(word))
    }

    /// What it says.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(crate) fn line(&self) -> Result<Line, String> {
        #[derive(Deserialize)]
        struct Version {
            v: Option<u64>,
            event: Option<Kind>,
        }
        if self.end == End::TooLong {
            let most = MAX_LINE >> 20;
            return Err(format!("it is not an audit log line: it is longer than {most} MiB"));
        }
        let error = match serde_json::from_slice::<Line>(self.bytes) {
            Ok(line) if line.v == 1 => return Ok(line),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let version = serde_json::from_slice(self.bytes);
        // Another event may use the same words for something else: `action` of an administrator, `by` of a swap.
        if let Ok(Version {
            v: Some(1),
            event: Some(Kind::Other),
        }) = version
        {
            return Ok(Line::default());
        }
        Err(match (version, self.end) {
            (Ok(Version { v: None, .. }), _) => "it is not an audit log line: it has no `v`".to_owned(),
            (Ok(Version { v: Some(v), .. }), _) if v != 1 => {
                format!("its audit log version is {v}; this program reads version 1")
            }
            (_, End::Nowhere) => format!("it is not a complete audit log line: {error}"),
            _ => format!("it is not an audit log line: {error}"),
        })
    }
}

/// What was compressed with gzip, as rotated logs are, is read as if it were not.
fn plain(mut reader: BufReader<Take<File>>) -> Box<dyn BufRead + Send> {
    match reader.fill_buf() {
        Ok(start) if start.starts_with(GZIP) => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))),
        // An error is met again by whoever reads on.
        _ => Box::new(reader),
    }
}

/// With which a file of gzip begins (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
const BUFFER: usize = 1 << 20;
/// The gateway writes none that is nearly as long.
const MAX_LINE: u64 = 16 << 20;
