//! A way for the operator to a relay that runs: the socket `control.sock` in the data folder, which only its owner
//! can open. In: commands, one JSON object a line. Out: answers, one a line, some of them followed by bytes. Each
//! connection has a thread of its own and reads in small pieces; no session waits for it, nor the writer for
//! longer than for a few records.

mod client;
mod protocol;
mod serve;

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use client::{Client, ClientError, Received};
pub use protocol::{Answer, Command, CommunityStats, DeleteCommand, Deleted, SearchStats, Since, Stats};
pub use serve::{House, delete, stats};

/// The socket's name in the data folder.
const SOCKET: &str = "control.sock";

/// Where the socket is made, unseen by others, before it is put in its place.
const NURSERY: &str = "control.new";

/// Connections at once; who comes later is told to try again.
const CONNECTIONS_MAX: usize = 8;

/// A connection that is being served.
struct Served {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

/// `None` when no more are served.
type AllServed = Arc<Mutex<Option<Vec<Served>>>>;

/// The control socket of a relay that runs.
pub struct Control {
    path: PathBuf,
    accepting: tokio::task::JoinHandle<()>,
    served: AllServed,
}

impl Control {
    /// Listens in the store's folder, of which this process must have the lock: a socket that is there is left
    /// over from one that is gone. Must be called within a runtime.
    ///
    /// # Errors
    /// When the socket cannot be made, as on file systems that have none.
    pub fn start(house: House) -> io::Result<Control> {
        let folder = house.store.path().to_owned();
        let path = folder.join(SOCKET);
        let listener = tokio::net::UnixListener::from_std(listen(&folder, &path)?)?;
        let served = Arc::new(Mutex::new(Some(Vec::new())));
        let accepting = tokio::spawn(accept(listener, house, Arc::clone(&served)));
        Ok(Control { path, accepting, served })
    }

    /// Ends all connections, also in the middle of an answer, and removes the socket. What a command has begun
    /// to remove it stops to remove.
    pub fn stop(self) {
        self.accepting.abort();
        let _ = fs::remove_file(&self.path);
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner).take();
        for Served { stream, thread } in served.into_iter().flatten() {
            // One that has ended by itself is not connected any more.
            let _ = stream.shutdown(Shutdown::Both);
            if thread.join().is_err() {
                tracing::error!("a thread of the control socket panicked");
            }
        }
    }
}

/// Makes the socket in a folder that nobody else can enter, so that no one can connect before its mode is set,
/// and puts it in its place.
fn listen(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let nursery = folder.join(NURSERY);
    let _ = fs::remove_dir_all(&nursery);
    DirBuilder::new().mode(0o700).create(&nursery)?;
    let new = nursery.join("s");
    let made = UnixListener::bind(&new).and_then(|listener| {
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&nursery);
    made
}

async fn accept(listener: tokio::net::UnixListener, house: House, all: AllServed) {
    while let Ok((stream, _)) = listener.accept().await {
        let taken = stream.into_std().and_then(|stream| {
            stream.set_nonblocking(false)?;
            Ok((stream.try_clone()?, stream))
        });
        let Ok((kept, stream)) = taken else { continue };
        let mut served = all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(served) = served.as_mut() else { return };
        served.retain(|one| !one.thread.is_finished());
        if served.len() >= CONNECTIONS_MAX {
            serve::refuse(&stream);
            continue;
        }
        let house = house.clone();
        let thread = std::thread::Builder::new()
            .name("plaza-control".to_owned())
            .spawn(move || serve::serve(&house, &stream));
        match thread {
            Ok(thread) => served.push(Served { stream: kept, thread }),
            Err(error) => tracing::warn!("the control socket gets no thread: {error}"),
        }
    }
}
