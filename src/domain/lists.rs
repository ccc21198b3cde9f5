//! Lists of domains as the fediverse shares them (nips/blocklist.md). In: the texts of CSV files in Mastodon's
//! export format. Out: what is said of a domain, and a report on each list. Never reads a file: whoever does
//! hands the texts over.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use super::{normalize, with_parents};

/// Warnings kept of one list; further faults are only counted.
pub const WARNINGS_PER_LIST_MAX: usize = 20;

/// A field that runs over more lines surely lacks its closing quotation mark, and hides what follows.
const FIELD_LINES_MAX: usize = 50;

/// What a list asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing: the domain is known, and later lists have no say.
    Noop,
    /// Out of sight of those who do not follow.
    Silence,
    /// Not let in.
    Suspend,
}

/// What is said of a domain, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What the list asks for.
    pub severity: Severity,
    /// The listed domain: the one asked about, or one above it.
    pub domain: &'a str,
    /// The name of the list.
    pub list: &'a str,
}

/// A fault in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The name of the list.
    pub list: String,
    /// The line of the file, from 1.
    pub line: u64,
    /// What is wrong there.
    pub problem: String,
}

/// What came of a list, in lines of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The name of the list.
    pub name: String,
    /// Domains that it suspends.
    pub suspend: usize,
    /// Domains that it silences.
    pub silence: usize,
    /// Domains that it names without asking for anything.
    pub noop: usize,
    /// Domains that a list before it has as well: its own say does not count there.
    pub overruled: usize,
    /// Domains that it has more than once: the first line counts.
    pub repeated: usize,
    /// Domains with a `*`, by which servers hide names from the public: they match nothing.
    pub obfuscated: usize,
    /// Lines that could not be understood.
    pub invalid: usize,
}

/// What several lists say of domains.
#[derive(Debug, Clone, Default)]
pub struct Domains {
    entries: HashMap<Box<str>, Entry>,
    reports: Vec<Report>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    severity: Severity,
    list: u32,
}

/// Which columns of a list mean what.
#[derive(Debug, Clone, Copy)]
struct Columns {
    domain: usize,
    severity: Option<usize>,
}

impl Domains {
    /// Reads lists, each a name and a text, the one that counts most first.
    pub fn parse<N: AsRef<str>, T: AsRef<str>>(lists: &[(N, T)]) -> (Domains, Vec<Warning>) {
        let mut domains = Domains::default();
        let mut warnings = Vec::new();
        for (name, text) in lists {
            domains.add(name.as_ref(), text.as_ref(), &mut warnings);
        }
        (domains, warnings)
    }

    /// What came of each list, in their order.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// How many domains are listed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names that are suspended, in no order.
    pub fn suspended(&self) -> impl Iterator<Item = &str> {
        let suspended = self.entries.iter().filter(|(_, entry)| entry.severity == Severity::Suspend);
        suspended.map(|(name, _)| &**name)
    }

    /// What is said of a normalized name. The first list that has it, or a name above it, decides; within
    /// that list the longest name does.
    pub fn find(&self, name: &str) -> Option<Verdict<'_>> {
        if self.entries.is_empty() {
            return None;
        }
        let found = with_parents(name).filter_map(|name| self.entries.get_key_value(name));
        // The names come longest first, and the first of equals is kept.
        let (domain, entry) = found.min_by_key(|(_, entry)| entry.list)?;
        let list = self.reports.get(entry.list as usize).map_or("", |report| &report.name);
        Some(Verdict { severity: entry.severity, domain, list })
    }

    fn add(&mut self, name: &str, text: &str, warnings: &mut Vec<Warning>) {
        let list = self.reports.len() as u32;
        let mut report = Report { name: name.to_owned(), ..Report::default() };
        let mut reader = reader(text);
        let mut columns = None;
        let mut given = 0;
        for record in reader.records() {
            let (line, outcome) = match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    (line, self.take(&record, &mut columns, list, &mut report))
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    (line, Err(format!("this is no CSV: {error}")))
                }
            };
            if let Err(problem) = outcome {
                report.invalid += 1;
                given += 1;
                if given <= WARNINGS_PER_LIST_MAX {
                    warnings.push(Warning { list: name.to_owned(), line, problem });
                }
            }
        }
        self.reports.push(report);
    }

    /// Takes one line in: the header, a comment, or a domain.
    fn take(
        &mut self,
        record: &StringRecord,
        columns: &mut Option<Columns>,
        list: u32,
        report: &mut Report,
    ) -> Result<(), String> {
        let header = if columns.is_none() { columns_of(record) } else { None };
        if header.is_some() {
            *columns = header;
            return Ok(());
        }
        if record.get(0).is_none_or(|first| first.starts_with('#') || first.is_empty() && record.len() == 1) {
            return Ok(());
        }
        // A list without a header is a list of domains to suspend: so Mastodon takes it, too.
        let at = *columns.get_or_insert(Columns { domain: 0, severity: None });
        let text = record.get(at.domain).unwrap_or("");
        if text.contains('*') {
            report.obfuscated += 1;
            return Ok(());
        }
        let name = normalize(text).ok_or_else(|| format!("{:?} is no domain name", excerpt(text)))?;
        if !name.contains('.') {
            return Err(format!(
                "{name:?} is a whole top-level domain, which a list of others may not block"
            ));
        }
        let severity = match at.severity {
            None => Severity::Suspend,
            Some(column) => severity_of(record.get(column).unwrap_or(""))?,
        };
        match severity {
            Severity::Noop => report.noop += 1,
            Severity::Silence => report.silence += 1,
            Severity::Suspend => report.suspend += 1,
        }
        match self.entries.entry(name.into()) {
            Slot::Vacant(slot) => drop(slot.insert(Entry { severity, list })),
            Slot::Occupied(slot) if slot.get().list == list => report.repeated += 1,
            Slot::Occupied(_) => report.overruled += 1,
        }
        match record.iter().map(|field| field.matches('\n').count()).max() {
            Some(lines) if lines > FIELD_LINES_MAX => {
                Err(format!("a field runs over {lines} lines; is its closing quotation mark missing?"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a list's text line by line; nothing is taken for a header.
pub(super) fn reader(text: &str) -> Reader<&[u8]> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text.as_bytes())
}

/// The columns that a header names, in any order, with or without Mastodon's `#`.
fn columns_of(record: &StringRecord) -> Option<Columns> {
    // A blank before a quotation mark makes it a part of the name.
    let is_around = |c: char| matches!(c, '#' | '"') || c.is_whitespace();
    let column = |wanted: &str| {
        record.iter().position(|name| name.trim_matches(is_around).eq_ignore_ascii_case(wanted))
    };
    Some(Columns { domain: column("domain")?, severity: column("severity") })
}

fn severity_of(text: &str) -> Result<Severity, String> {
    match text.to_ascii_lowercase().as_str() {
        "suspend" => Ok(Severity::Suspend),
        // Mastodon's pages say "limit" for what its files call "silence".
        "silence" | "limit" => Ok(Severity::Silence),
        "noop" => Ok(Severity::Noop),
        _ => Err(format!("{:?} is no severity; there are suspend, silence and noop", excerpt(text))),
    }
}

/// The beginning of a text, enough to find it again.
fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}
