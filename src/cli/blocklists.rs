//! `plaza blocklists`: what a community's lists of domains hold, what is wrong in them, and what each touches of
//! what is stored. Changes nothing. In: the settings, the lists, the store. Out: a report for people.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::sync::Arc;

use clap::Args;

use super::{CommunityArgument, Failure, StoreArguments};
use crate::community::{Communities, Community};
use crate::domain::lists::{Domains, Severity};
use crate::event::PublicKey;
use crate::net::open_store;
use crate::store::StoreError;

#[derive(Debug, Args)]
pub(super) struct Blocklists {
    #[command(flatten)]
    community: CommunityArgument,
    #[command(flatten)]
    store: StoreArguments,
}

/// What one list does to what is stored.
#[derive(Default)]
struct Touched {
    suspended: u64,
    silenced: u64,
    authors: HashSet<PublicKey>,
    /// Events by listed domain.
    domains: BTreeMap<String, u64>,
}

/// Domains that are named for each list, those with most events first.
const DOMAINS_NAMED_MAX: usize = 10;

impl Blocklists {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let store = match config.store.path.exists().then(|| open_store(&config.store)) {
            None => None,
            Some(Ok(store)) => Some(store),
            Some(Err(StoreError::InUse { .. })) => {
                eprintln!("plaza: a relay runs on these events; what the lists touch of them is not counted");
                None
            }
            Some(Err(error)) => return Err(error.into()),
        };
        let communities = match &store {
            Some(store) => Communities::open(&config, store)?,
            None => Communities::without_store(&config),
        };
        let community = self.community.find(&communities)?;
        let warnings = community.read_lists();
        let domains = Arc::clone(&community.known().domains);
        let mut out = std::io::stdout().lock();
        if domains.reports().is_empty() {
            writeln!(out, "{} has no blocklists", community.path())?;
        }
        let touched = store.map(|_| touched(&community, &domains));
        for report in domains.reports() {
            writeln!(
                out,
                "{}: {} suspended, {} silenced, {} noop; {} overruled by a list before, {} repeated, {} obfuscated",
                report.name,
                report.suspend,
                report.silence,
                report.noop,
                report.overruled,
                report.repeated,
                report.obfuscated,
            )?;
            for warning in warnings.iter().filter(|warning| warning.list == report.name) {
                writeln!(out, "  line {}: {}", warning.line, warning.problem)?;
            }
            let named = warnings.iter().filter(|warning| warning.list == report.name).count();
            if report.invalid > named {
                writeln!(out, "  and {} more lines that could not be understood", report.invalid - named)?;
            }
            if let Some(touched) = &touched {
                write_touched(&mut out, touched.get(report.name.as_str()))?;
            }
        }
        Ok(())
    }
}

fn write_touched(out: &mut impl std::io::Write, touched: Option<&Touched>) -> std::io::Result<()> {
    let Some(touched) = touched else { return writeln!(out, "  touches nothing that is stored") };
    writeln!(
        out,
        "  touches {} suspended and {} silenced events of {} authors",
        touched.suspended,
        touched.silenced,
        touched.authors.len(),
    )?;
    let mut domains: Vec<_> = touched.domains.iter().collect();
    domains.sort_by_key(|(_, events)| std::cmp::Reverse(**events));
    for (domain, events) in domains.into_iter().take(DOMAINS_NAMED_MAX) {
        writeln!(out, "    {events} from {domain}")?;
    }
    Ok(())
}

/// What each list, by name, does to the bridged events that are stored.
fn touched<'d>(community: &Community, domains: &'d Domains) -> BTreeMap<&'d str, Touched> {
    let mut touched: BTreeMap<&str, Touched> = BTreeMap::new();
    let settings = community.settings();
    let allowed = &settings.blocklist.domains_allowed;
    community.index().each_bridged(|author, origins| {
        let names = origins.iter().filter_map(|origin| origin.domain.as_deref());
        let verdicts = names.filter(|name| !allowed.covers(name)).filter_map(|name| domains.find(name));
        // One event may name several sources; the hardest word counts.
        let Some(verdict) = verdicts.max_by_key(|verdict| verdict.severity) else { return };
        let list = touched.entry(verdict.list).or_default();
        match verdict.severity {
            Severity::Suspend => list.suspended += 1,
            Severity::Silence => list.silenced += 1,
            Severity::Noop => return,
        }
        list.authors.insert(*author);
        *list.domains.entry(verdict.domain.to_owned()).or_default() += 1;
    });
    touched.retain(|_, list| list.suspended + list.silenced > 0);
    touched
}
