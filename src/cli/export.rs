//! `plaza export`: write stored events as JSON Lines, oldest first, so that an import elsewhere meets
//! versions and deletions in the order in which they were made.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use clap::Args;

use super::wire::Remote;
use super::{CommunityArgument, Failure, StoreArguments, open_idle_store, progress, remote};
use crate::clock::Clock;
use crate::community::{Communities, Community};
use crate::filter::Filter;
use crate::index::{Found, Progress, Scan};
use crate::nips::nip40;
use crate::pipeline::bodies::Bodies;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only events that match this NIP-01 filter; with a limit, the newest of them
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Ask a relay that is running, such as ws://127.0.0.1:7777
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data"])]
    relay: Option<String>,
    #[command(flatten)]
    community: CommunityArgument,
    #[command(flatten)]
    store: StoreArguments,
}

impl Export {
    pub(super) fn run(self) -> Result<(), Failure> {
        let filter = match &self.filter {
            Some(text) => Filter::from_json(text).map_err(|reason| format!("--filter: {reason}"))?,
            None => Filter::default(),
        };
        let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
        let written = match &self.relay {
            Some(url) => {
                let bar = progress(None, "events");
                Remote::connect("--relay", url, None).and_then(|mut remote| {
                    remote::export(&mut remote, self.filter.as_deref(), &mut out, &bar)
                })
            }
            None => self.write(&filter, &mut out),
        };
        match written.and_then(|count| Ok(out.flush().map(|()| count)?)) {
            Ok(count) => {
                eprintln!("plaza: {count} events exported");
                Ok(())
            }
            // Who reads the export may stop when they have enough.
            Err(failure) if is_broken_pipe(&failure) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Writes stored events, oldest first; how many.
    fn write(&self, filter: &Filter, out: &mut impl Write) -> Result<u64, Failure> {
        let config = self.store.load()?;
        // Opening a folder that is not there would make an empty store.
        if !config.store.path.exists() {
            let path = config.store.path.display();
            return Err(format!("there is no folder {path}; name the right one with --data").into());
        }
        let store = Arc::new(open_idle_store(&config)?);
        let communities = Communities::open(&config, &store)?;
        let community = self.community.find(&communities)?;
        let found = scan(&community, filter);
        // Bodies are read once each: a cache would only take memory.
        let bodies = Bodies::new(store, 0);
        let bar = progress(Some(found.len() as u64), "events");
        let mut count = 0;
        for found in found.iter().rev() {
            if let Some(event) = bodies.event(community.id, found.location)? {
                let mut line = event.to_json();
                line.push(b'\n');
                out.write_all(&line)?;
                count += 1;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(count)
    }
}

fn is_broken_pipe(failure: &Failure) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// All that an operator may take along: everything but what has expired or vanished.
pub(super) fn scan(community: &Community, filter: &Filter) -> Vec<Found> {
    let index = community.index();
    let now = Clock::system().now();
    let limit = filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut found = Vec::new();
    let mut scan = Scan::new(filter, index.next_number());
    let may_be_taken =
        |head: &crate::rule::Head<'_>| !head.vanished && !nip40::is_expired(head.expires_at, now);
    loop {
        let progress = scan.run(&index, u64::MAX, may_be_taken, |one, _| {
            if found.len() < limit {
                found.push(one);
            }
            found.len() < limit
        });
        if progress != Progress::Going {
            return found;
        }
    }
}
