//! Domain blocklists as the fediverse shares them (nips/blocklist.md). In: the texts of CSV files in Mastodon's
//! export format, the settings, an event or a head. Out: what is said of a domain, a report on each list,
//! decisions. Never reads a file: whoever does hands the texts over.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::bridge::{is_followed, takes_back};
use crate::config::{BlocklistPart, Settings};
use crate::domain;
use crate::event::{Event, Kind};
use crate::nips::nip48;
use crate::rule::people::nip05_domain;
use crate::rule::{Check, Context, Decision, Head, Prefix, Refusal, Rule};

/// The rules in the order in which they are run.
pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "blocklist.proxy",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let said = "Posts bridged from domains on a blocklist are not taken.";
            applies(BlocklistPart::Proxy, settings).then(|| said.to_owned())
        },
        check: Check::Admit(admit_proxy),
    },
    Rule {
        id: "blocklist.nip05",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let said = "Authors whose NIP-05 identifier is at a domain on a blocklist are not taken.";
            applies(BlocklistPart::Nip05, settings).then(|| said.to_owned())
        },
        check: Check::Admit(admit_nip05),
    },
    Rule {
        id: "blocklist.links",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let said = "Posts with links to domains on a blocklist are not taken.";
            applies(BlocklistPart::Links, settings).then(|| said.to_owned())
        },
        check: Check::Admit(admit_links),
    },
    Rule {
        id: "blocklist.hidden",
        settings: &["blocklist.files", "blocklist.apply_to", "blocklist.domains_allowed"],
        sentence: |settings| {
            let parts = [BlocklistPart::Proxy, BlocklistPart::Nip05];
            let said = "Who posts from a domain that a blocklist silences is shown to those who follow them.";
            parts.into_iter().any(|part| applies(part, settings)).then(|| said.to_owned())
        },
        check: Check::Visible(shown),
    },
];

/// Reports of what is wrong quote what they are about.
const REPORT: Kind = Kind(1_984);

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

    /// What is said of a normalized name. The first list that has it, or a name above it, decides; within
    /// that list the longest name does.
    pub fn find(&self, name: &str) -> Option<Verdict<'_>> {
        if self.entries.is_empty() {
            return None;
        }
        let found = domain::with_parents(name).filter_map(|name| self.entries.get_key_value(name));
        // The names come longest first, and the first of equals is kept.
        let (domain, entry) = found.min_by_key(|(_, entry)| entry.list)?;
        let list = self.reports.get(entry.list as usize).map_or("", |report| &report.name);
        Some(Verdict { severity: entry.severity, domain, list })
    }

    fn add(&mut self, name: &str, text: &str, warnings: &mut Vec<Warning>) {
        let list = self.reports.len() as u32;
        let mut report = Report { name: name.to_owned(), ..Report::default() };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(text.as_bytes());
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
        let name = domain::normalize(text).ok_or_else(|| format!("{:?} is no domain name", excerpt(text)))?;
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

fn applies(part: BlocklistPart, settings: &Settings) -> bool {
    !settings.blocklist.files.is_empty() && settings.blocklist.apply_to.contains(&part)
}

/// What the lists say of a normalized name, unless the community lets it in.
fn verdict<'a>(name: &str, context: &Context<'a>) -> Option<Verdict<'a>> {
    if context.config.blocklist.domains_allowed.covers(name) {
        return None;
    }
    context.known.domains.find(name)
}

fn suspended<'a>(name: &str, context: &Context<'a>) -> Option<Verdict<'a>> {
    verdict(name, context).filter(|verdict| verdict.severity == Severity::Suspend)
}

fn refuse(rule: &'static str, what: &str, verdict: &Verdict<'_>) -> Decision {
    let sentence = format!("{what} {}, which is on this relay's blocklist {}", verdict.domain, verdict.list);
    Err(Refusal::new(Prefix::Blocked, rule, sentence))
}

fn admit_proxy(event: &Event, context: &Context<'_>) -> Decision {
    if takes_back(event.kind) {
        return Ok(());
    }
    let mut domains = nip48::origins(&event.tags).filter_map(|origin| origin.domain);
    match domains.find_map(|name| suspended(&name, context)) {
        None => Ok(()),
        Some(verdict) => refuse("blocklist.proxy", "this was bridged from", &verdict),
    }
}

/// Looks at the identifier in a profile itself, so that whoever leaves a listed domain may say so.
fn admit_nip05(event: &Event, context: &Context<'_>) -> Decision {
    if takes_back(event.kind) {
        return Ok(());
    }
    let claimed = if event.kind == Kind::PROFILE { nip05_domain(event) } else { None };
    let known = match event.kind {
        Kind::PROFILE => claimed.as_deref(),
        _ => context.known.people.nip05(&event.pubkey),
    };
    match known.and_then(|name| suspended(name, context)) {
        None => Ok(()),
        Some(verdict) => refuse("blocklist.nip05", "the author's NIP-05 identifier is at", &verdict),
    }
}

fn admit_links(event: &Event, context: &Context<'_>) -> Decision {
    if takes_back(event.kind) || event.kind == REPORT || context.known.domains.is_empty() {
        return Ok(());
    }
    let tags = event.tags.iter().filter(|tag| matches!(tag.name(), "r" | "url" | "imeta"));
    let texts = std::iter::once(event.content.as_str()).chain(tags.flat_map(|tag| tag.iter()));
    match texts.flat_map(domain::link_hosts).find_map(|name| suspended(&name, context)) {
        None => Ok(()),
        Some(verdict) => refuse("blocklist.links", "it has a link to", &verdict),
    }
}

/// Whether an event is shown to who asks: never when its source, or its author's domain, is suspended, as
/// may happen after it was taken; to who follows its author when one of them is silenced.
fn shown(head: &Head<'_>, context: &Context<'_>) -> bool {
    if context.known.domains.is_empty() || takes_back(head.kind) {
        return true;
    }
    let mut worst = Severity::Noop;
    let mut look = |name: &str| {
        worst = worst.max(verdict(name, context).map_or(Severity::Noop, |verdict| verdict.severity));
    };
    if applies(BlocklistPart::Proxy, context.config) {
        head.tags.origins(&mut |origin| origin.domain.as_deref().into_iter().for_each(&mut look));
    }
    if applies(BlocklistPart::Nip05, context.config)
        && let Some(name) = context.known.people.nip05(head.author)
    {
        look(name);
    }
    match worst {
        Severity::Noop => true,
        Severity::Silence => is_followed(head.author, context),
        Severity::Suspend => false,
    }
}
