//! What is stored, for commands of the operator: by the control socket of the relay that runs on the folder, or
//! from the store itself when none does. In: the config. Out: copies of the store, or a way to ask.

use std::path::Path;
use std::sync::Arc;

use super::Failure;
use crate::clock::Clock;
use crate::community::{Communities, LOCAL_STATE};
use crate::config::{self, Config, Current};
use crate::control::{Answer, Client, Command, House, Received};
use crate::net::open_store;
use crate::pipeline::Pipeline;
use crate::store::copy::{Copied, Earlier, Piece, Stamp};
use crate::store::{Store, StoreError};

/// The store, or the relay that has it.
pub(super) enum Data {
    /// A relay runs on it.
    Running(Client),
    /// Nobody does.
    Idle(Box<Store>),
}

/// Where a copy goes.
pub(super) trait Sink {
    /// What it wants to go on from.
    fn since(&self) -> Option<Earlier> {
        None
    }

    /// Told first whether the copy brings only what is new.
    fn begin(&mut self, _is_incremental: bool) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes some of it.
    fn take(&mut self, piece: Piece) -> Result<(), Failure>;

    /// Takes the end. The stamps of the folder and of the copy, when the store is to remember it.
    fn finish(&mut self, copied: Copied) -> Result<Option<(Stamp, Stamp)>, Failure>;
}

/// The folder must be there: opening one that is not would make an empty store.
fn check_folder(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    Err(format!("there is no folder {}; name the right one with --data", path.display()).into())
}

/// What the relay that runs on a folder answers to a command that asks it alone; `why` says what it is asked for.
pub(super) fn ask_relay(settings: &config::Store, command: &Command, why: &str) -> Result<Answer, Failure> {
    let Some(mut client) = Client::connect(&settings.path)? else {
        return Err(format!("no relay runs on {}; {why}", settings.path.display()).into());
    };
    client.send(command)?;
    match client.receive()? {
        Received::Answer(answer) => Ok(answer),
        other => Err(format!("the relay answers something else: {other:?}").into()),
    }
}

/// Opens the store of a folder that is there and on which no relay may be running.
pub(super) fn open_idle(settings: &config::Store) -> Result<Store, Failure> {
    check_folder(&settings.path)?;
    open_store(settings).map_err(|error| match error {
        StoreError::InUse { path } => {
            format!("a relay runs on {}; stop it first, as this rewrites what it holds", path.display())
                .into()
        }
        error => error.into(),
    })
}

impl Data {
    /// Finds the relay that runs on the config's folder, or opens the store.
    pub(super) fn reach(settings: &config::Store) -> Result<Data, Failure> {
        check_folder(&settings.path)?;
        let connected = Client::connect(&settings.path);
        let refused = match connected {
            Ok(Some(client)) => return Ok(Data::Running(client)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match (open_store(settings), refused) {
            (Ok(store), _) => Ok(Data::Idle(Box::new(store))),
            (Err(StoreError::InUse { path }), Some(error)) => Err(format!(
                "a relay runs on {}, and its control.sock refuses this user: {error}; run this as the user \
                 who runs the relay",
                path.display()
            )
            .into()),
            (Err(StoreError::InUse { path }), None) => Err(format!(
                "a relay runs on {} and has no control.sock there; its log says why, or it is about to start \
                 or stop",
                path.display()
            )
            .into()),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Hands a copy of the store to a sink.
    pub(super) fn copy(&mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        match self {
            Data::Running(client) => copy_of_relay(client, sink),
            Data::Idle(store) => {
                let copier = store.copier(sink.since().as_ref());
                sink.begin(copier.is_incremental())?;
                let copied = copier.run(LOCAL_STATE, |piece| sink.take(piece))?;
                let group = copied.group;
                if let Some((folder, stamp)) = sink.finish(copied)? {
                    copier.keep(&folder, &stamp, group)?;
                }
                Ok(())
            }
        }
    }
}

fn copy_of_relay(client: &mut Client, sink: &mut impl Sink) -> Result<(), Failure> {
    client.send(&Command::Copy { since: sink.since().map(Into::into) })?;
    let copied = loop {
        match client.receive()? {
            Received::Answer(Answer::Copying { is_incremental }) => sink.begin(is_incremental)?,
            Received::Answer(Answer::Copied(copied)) => break copied,
            Received::Answer(other) => {
                return Err(format!("the relay answers something else: {other:?}").into());
            }
            Received::Piece(piece) => sink.take(piece)?,
        }
    };
    let group = copied.group;
    if let Some((folder, stamp)) = sink.finish(copied)? {
        client.send(&Command::Keep { folder, stamp, group })?;
        client.receive()?;
    }
    Ok(())
}

/// Lets a command work on an idle store as it would in a relay.
pub(super) fn with_house<T>(
    config: &Config,
    store: Store,
    work: impl FnOnce(&House) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let store = Arc::new(store);
    let communities = Arc::new(Communities::open(config, &store)?);
    let pipeline = Pipeline::start(
        &Current::new(config.clone()),
        Arc::clone(&store),
        Arc::clone(&communities),
        Clock::system(),
    )?;
    let house = House { store, communities, pipeline: Arc::new(pipeline), mirrors: None };
    let done = work(&house);
    let House { store, communities, pipeline, .. } = house;
    if let Some(pipeline) = Arc::into_inner(pipeline) {
        pipeline.stop();
    }
    drop(communities);
    if let Some(store) = Arc::into_inner(store) {
        store.close()?;
    }
    done
}
