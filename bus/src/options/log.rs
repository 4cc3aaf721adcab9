//! Where the log goes, and what is in it.

use std::path::PathBuf;

use crate::conf::{ConfError, Entry};

use super::read::Field;

/// How a program keeps its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where to; standard error when absent.
    pub file: Option<PathBuf>,
    /// Bytes after which the file is set aside and a new one begun; 0, the default, means never.
    pub size_limit: u64,
    /// Files to keep, the current one included; 0, the default, means all.
    pub max_files: usize,
    /// To the system's log instead.
    pub syslog: bool,
    /// To a system log elsewhere (`udp://host:514`).
    pub remote_syslog: Option<String>,
    /// Debug messages as well.
    pub debug: bool,
    /// The protocol of clients as well.
    pub trace: bool,
    /// That of the server's own clients, too.
    pub trace_verbose: bool,
    /// Headers of traced messages in place of their payload.
    pub trace_headers: bool,
    /// The time in each line.
    pub time: bool,
    /// That time in UTC rather than here.
    pub utc: bool,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            file: None,
            size_limit: 0,
            max_files: 0,
            syslog: false,
            remote_syslog: None,
            debug: false,
            trace: false,
            trace_verbose: false,
            trace_headers: false,
            time: true,
            utc: false,
        }
    }
}

impl Log {
    /// Takes over a setting of the file; `false` when it is none of the log's.
    pub(super) fn set(&mut self, entry: &Entry) -> Result<bool, ConfError> {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "log_file" | "logfile" => self.file = Some(field.text()?.into()),
            "logfile_size_limit" | "log_size_limit" => self.size_limit = field.size()? as u64,
            "logfile_max_num" | "log_max_num" => self.max_files = field.count_or_any()?,
            "syslog" => self.syslog = field.boolean()?,
            "remote_syslog" => self.remote_syslog = Some(field.text()?),
            "debug" => self.debug = field.boolean()?,
            "trace" => self.trace = field.boolean()?,
            "trace_verbose" => {
                self.trace_verbose = field.boolean()?;
                self.trace |= self.trace_verbose;
            }
            "trace_headers" => {
                self.trace_headers = field.boolean()?;
                self.trace |= self.trace_headers;
            }
            "logtime" => self.time = field.boolean()?,
            "logtime_utc" => self.utc = field.boolean()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
