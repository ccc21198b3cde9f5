//! The disk as a mounted file system, by FUSE, with a switch for its power. In: requests of the kernel. Out:
//! what the disk says. When the power goes nothing changes any more and nothing is answered, so that the
//! program on it stands still in the middle of what it did, until it is killed and the switch released.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::disk::{Disk, Is, Node, ROOT, Refusal};
use crate::fault::{Asked, Fault, Faults, Harm};

/// The kernel asks each time: nothing it remembers is older than the disk.
const NO_TIME: Duration = Duration::ZERO;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    On,
    /// Nothing is answered.
    Off,
    /// Everything is answered with an error, so that a killed program can end.
    Released,
}

struct State {
    disk: Disk,
    phase: Phase,
    /// How many more changes and syncs there will be before the power goes.
    steps_left: Option<u64>,
    /// How long a sync takes.
    sync_time: Duration,
    faults: Faults,
    /// Whether the kernel remembers what was written.
    cached: bool,
}

/// A disk and its power switch. All clones are the same one.
#[derive(Clone)]
pub(crate) struct Power(Arc<(Mutex<State>, Condvar)>);

impl Power {
    pub(crate) fn new(disk: Disk) -> Power {
        let (sync_time, faults) = (Duration::ZERO, Faults::default());
        let state = State { disk, phase: Phase::On, steps_left: None, sync_time, faults, cached: false };
        Power(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// From now on a sync takes so long; the longer, the more a program writes between two.
    pub(crate) fn set_sync_time(&self, time: Duration) {
        self.state().sync_time = time;
    }

    /// From now on this goes wrong.
    pub(crate) fn harm(&self, fault: Fault) {
        self.state().faults.all.push(fault);
    }

    /// From now on nothing goes wrong; how often something did, from the beginning on.
    pub(crate) fn mend(&self) -> u64 {
        let mut state = self.state();
        state.faults.all.clear();
        self.0.1.notify_all();
        state.faults.met
    }

    /// Files that are opened from now on are in the kernel's cache as well, as those of a real disk are.
    pub(crate) fn cache(&self) {
        self.state().cached = true;
    }

    /// The power goes after so many more changes and syncs.
    pub(crate) fn cut_after(&self, steps: u64) {
        self.state().steps_left = Some(steps);
    }

    /// The power goes now.
    pub(crate) fn cut(&self) {
        self.switch(Phase::Off);
    }

    /// Whether the power has gone.
    pub(crate) fn is_off(&self) -> bool {
        self.state().phase != Phase::On
    }

    /// The power stays on from now on: tells whether it was still there.
    pub(crate) fn stays(&self) -> bool {
        let mut state = self.state();
        state.steps_left = None;
        state.phase == Phase::On
    }

    /// Waits until the power has gone, but not for ever: tells whether it has.
    pub(crate) fn wait_until_off(&self, patience: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.state(), patience, |state| state.phase == Phase::On);
        !waited.expect("nobody panics with the disk").1.timed_out()
    }

    /// Lets whoever waits for the disk go, with an error.
    pub(crate) fn release(&self) {
        self.switch(Phase::Released);
    }

    /// The power is back; the disk can be mounted again.
    pub(crate) fn restore(&self, change: impl FnOnce(&mut Disk)) {
        change(&mut self.state().disk);
        self.switch(Phase::On);
    }

    fn switch(&self, phase: Phase) {
        let mut state = self.state();
        (state.phase, state.steps_left) = (phase, None);
        self.0.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("nobody panics with the disk")
    }

    /// How files are opened. Past the kernel's cache what a program writes is one write here, and torn only by the
    /// power.
    fn how_to_open(&self) -> FopenFlags {
        if self.state().cached { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::FOPEN_DIRECT_IO }
    }

    /// Lets happen what goes wrong with something that is asked of a node.
    fn meet(&self, asked: Asked, node: Node) -> Result<(), Errno> {
        let state = self.state();
        if state.faults.all.is_empty() {
            return Ok(());
        }
        let name = state.disk.name_of(node).unwrap_or_default().to_string_lossy().into_owned();
        self.suffer(state, asked, node, &name)
    }

    /// The same of a name.
    fn meet_name(&self, name: &OsStr) -> Result<(), Errno> {
        self.suffer(self.state(), Asked::Name, ROOT, &name.to_string_lossy())
    }

    fn suffer(
        &self,
        mut state: MutexGuard<'_, State>,
        asked: Asked,
        node: Node,
        name: &str,
    ) -> Result<(), Errno> {
        match state.faults.meet(asked, name) {
            None => Ok(()),
            Some(Harm::Fails(error)) => Err(error),
            Some(Harm::Forgets) => {
                state.disk.forget(node);
                Err(Errno::EIO)
            }
            Some(Harm::Takes(time)) => {
                let is_slow = |state: &mut State| state.phase == Phase::On && !state.faults.all.is_empty();
                drop(self.0.1.wait_timeout_while(state, time, is_slow));
                Ok(())
            }
        }
    }

    /// Looks at the disk while it has power.
    fn look<T>(&self, look: impl FnOnce(&mut Disk) -> Result<T, Refusal>) -> Result<T, Errno> {
        let off = self.0.1.wait_while(self.state(), |state| state.phase == Phase::Off);
        let mut state = off.expect("nobody panics with the disk");
        if state.phase == Phase::Released {
            return Err(Errno::EIO);
        }
        look(&mut state.disk).map_err(|refusal| match refusal {
            Refusal::NotFound => Errno::ENOENT,
            Refusal::Exists => Errno::EEXIST,
            Refusal::NotEmpty => Errno::ENOTEMPTY,
            Refusal::IsFolder => Errno::EISDIR,
            Refusal::NotFolder => Errno::ENOTDIR,
            Refusal::Full => Errno::ENOSPC,
        })
    }

    /// Syncs a node, unless the power goes meanwhile.
    fn sync(&self, node: Node) -> Result<(), Errno> {
        self.meet(Asked::Sync, node)?;
        let sync_time = self.state().sync_time;
        let waited = self.0.1.wait_timeout_while(self.state(), sync_time, |state| state.phase == Phase::On);
        drop(waited);
        self.step(|disk| disk.sync(node))
    }

    /// Changes or syncs the disk, unless the power goes just before.
    fn step<T>(&self, step: impl FnOnce(&mut Disk) -> Result<T, Refusal>) -> Result<T, Errno> {
        let mut state = self.state();
        match &mut state.steps_left {
            Some(0) => {
                drop(state);
                self.cut();
            }
            Some(steps) => {
                *steps -= 1;
                drop(state);
            }
            None => drop(state),
        }
        self.look(step)
    }
}

/// The disk while it is mounted. Whoever uses it must have ended before this is dropped.
pub(crate) struct Mounted {
    session: Option<BackgroundSession>,
    folder: std::path::PathBuf,
}

impl Mounted {
    /// Mounts the disk on an empty folder.
    pub(crate) fn new(power: &Power, folder: &Path) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("plaza-power".to_owned())];
        let session = fuser::spawn_mount(Volume(power.clone()), folder, &config)?;
        Ok(Mounted { session: Some(session), folder: folder.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let session = self.session.take();
        if let Some(Err(error)) = session.map(BackgroundSession::umount_and_join) {
            eprintln!("{} is unmounted when nobody uses it any more: {error}", self.folder.display());
            let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.folder).status();
        }
    }
}

struct Volume(Power);

fn attributes(node: Node, is: Is, request: &Request) -> FileAttr {
    let (kind, perm, size) = match is {
        Is::File { bytes } => (FileType::RegularFile, 0o600, bytes as u64),
        Is::Folder => (FileType::Directory, 0o700, 0),
    };
    FileAttr {
        ino: INodeNo(node),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: request.uid(),
        gid: request.gid(),
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn enter(reply: ReplyEntry, request: &Request, found: Result<(Node, Is), Errno>) {
    match found {
        Ok((node, is)) => reply.entry(&NO_TIME, &attributes(node, is, request), Generation(0)),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Volume {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.look(|disk| {
            let node = disk.find(parent.0, name)?;
            Ok((node, disk.is(node)?))
        });
        enter(reply, request, found);
    }

    fn getattr(&self, request: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.look(|disk| disk.is(node.0)) {
            Ok(is) => reply.attr(&NO_TIME, &attributes(node.0, is, request)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        node: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let resized = match size {
            Some(bytes) => {
                let met = self.0.meet(Asked::Write, node.0);
                met.and_then(|()| self.0.step(|disk| disk.resize(node.0, bytes as usize)))
            }
            None => Ok(()),
        };
        match resized.and_then(|()| self.0.look(|disk| disk.is(node.0))) {
            Ok(is) => reply.attr(&NO_TIME, &attributes(node.0, is, request)),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let met = self.0.meet_name(name);
        let made = met.and_then(|()| self.0.step(|disk| disk.make_folder(parent.0, name)));
        enter(reply, request, made.map(|node| (node, Is::Folder)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let met = self.0.meet_name(name);
        answer(reply, met.and_then(|()| self.0.step(|disk| disk.remove_file(parent.0, name))));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.0.step(|disk| disk.remove_folder(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let met = self.0.meet_name(name);
        let rename = |disk: &mut Disk| disk.rename((parent.0, name), (new_parent.0, new_name));
        answer(reply, met.and_then(|()| self.0.step(rename)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let met = self.0.meet_name(name);
        match met.and_then(|()| self.0.step(|disk| disk.make_file(parent.0, name))) {
            Ok(node) => {
                let attributes = attributes(node, Is::File { bytes: 0 }, request);
                reply.created(&NO_TIME, &attributes, Generation(0), FileHandle(0), self.0.how_to_open());
            }
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.look(|disk| disk.is(node.0)) {
            Ok(_) => reply.opened(FileHandle(0), self.0.how_to_open()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = |disk: &mut Disk| Ok(disk.read(node.0, offset as usize, bytes as usize)?.to_owned());
        match self.0.meet(Asked::Read, node.0).and_then(|()| self.0.look(read)) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let met = self.0.meet(Asked::Write, node.0);
        match met.and_then(|()| self.0.step(|disk| disk.write(node.0, offset as usize, data))) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        answer(reply, self.0.sync(node.0));
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        answer(reply, self.0.sync(node.0));
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match self.0.look(|disk| {
            let entries = disk.list(node.0)?.into_iter();
            entries.map(|(entry, name)| Ok((entry, disk.is(entry)?, name))).collect::<Result<Vec<_>, _>>()
        }) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        let own = [(1, Is::Folder, ".".into()), (2, Is::Folder, "..".into())];
        // Places in a listing are nodes, so that a removal meanwhile moves no other entry.
        for (place, is, name) in own.into_iter().chain(entries).filter(|(place, ..)| *place > offset) {
            let kind = if is == Is::Folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(place), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let met = self.0.meet(Asked::Write, node.0);
        let grow = |disk: &mut Disk| match disk.is(node.0)? {
            Is::File { bytes } => disk.resize(node.0, bytes.max((offset + length) as usize)),
            Is::Folder => Err(Refusal::IsFolder),
        };
        answer(reply, met.and_then(|()| self.0.step(grow)));
    }
}
