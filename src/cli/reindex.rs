//! `plaza reindex`: has what is searched (NIP-50) read anew from all that is stored, by the relay that runs, or at its next
//! start. Changes no event.

use clap::Args;

use super::data::Data;
use super::{Failure, StoreArguments};
use crate::community::Communities;
use crate::control::{Answer, Command, Received};
use crate::search;

#[derive(Debug, Args)]
pub(super) struct Reindex {
    /// Path of the community, such as /market [default: all that search]
    #[arg(long, value_name = "PATH")]
    community: Option<String>,
    #[command(flatten)]
    store: StoreArguments,
}

impl Reindex {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.store.load()?;
        let community = self.community.map(|path| format!("/{}", path.trim_matches('/')));
        let (paths, when) = match Data::reach(&config.store)? {
            Data::Running(mut client) => {
                client.send(&Command::Reindex { community })?;
                match client.receive()? {
                    Received::Answer(Answer::Reindexing { communities }) => {
                        (communities, "is read anew now; `plaza stats` shows how far it is")
                    }
                    other => return Err(format!("the relay answers something else: {other:?}").into()),
                }
            }
            Data::Idle(store) => {
                let communities = Communities::open(&config, &store)?;
                let wanted = communities.searching(community.as_deref())?;
                for one in &wanted {
                    search::remove(store.path(), one.id)?;
                }
                let paths = wanted.iter().map(|one| one.path().to_owned()).collect();
                (paths, "is read anew when the relay starts")
            }
        };
        for path in paths {
            eprintln!("plaza: {path}: what is searched {when}");
        }
        Ok(())
    }
}
