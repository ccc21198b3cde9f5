//! A disk in memory that tells apart what was written and what is safe. In: what a file system is asked to
//! do. Out: what the programs on it see and, after the power was cut, what may be left. Knows neither FUSE
//! nor what the files mean.
//!
//! Safe is what a sync returned for: of a file its content and length, of a folder its names. All else may be
//! lost or kept in any part, as `survival.rs` chooses.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};

/// A file or folder by number.
pub(crate) type Node = u64;

pub(crate) const ROOT: Node = 1;

/// Lower numbers are for the root and for what listings begin with.
const FIRST_NODE: Node = 16;

/// What the disk holds at the most: contents, and what was written and not synced.
const BYTES_MAX: usize = 512 << 20;

/// When names become safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// When their folder is synced, and not before: all that POSIX promises.
    WithTheirFolder,
    /// With any sync, in order: one journal for all names, as ext4 and XFS keep.
    InOneJournal,
}

/// Why the disk does not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Exists,
    NotEmpty,
    IsFolder,
    NotFolder,
    Full,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    File { bytes: usize },
    Folder,
}

#[derive(Default)]
pub(super) struct File {
    /// What programs see.
    pub(super) now: Vec<u8>,
    pub(super) safe: Vec<u8>,
    /// What happened since the last sync.
    pub(super) changes: Vec<Change>,
}

/// A change of a file that is not safe yet.
pub(super) struct Change {
    /// Its moment; they grow over the whole disk.
    pub(super) moment: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Write { offset: usize, data: Vec<u8> },
    Resize { bytes: usize },
}

impl What {
    fn held_bytes(&self) -> usize {
        match self {
            What::Write { data, .. } => data.len(),
            What::Resize { .. } => 0,
        }
    }

    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            What::Write { offset, data } => {
                let end = offset + data.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(data);
            }
            What::Resize { bytes } => content.resize(*bytes, 0),
        }
    }
}

#[derive(Default)]
pub(super) struct Folder {
    pub(super) now: BTreeMap<OsString, Node>,
    pub(super) safe: BTreeMap<OsString, Node>,
}

/// A change of names that is not safe yet. A rename is one, whole or not at all.
pub(super) struct Move {
    pub(super) moment: u64,
    /// Folder, name, and what the name stands for from now on.
    pub(super) entries: Vec<(Node, OsString, Option<Node>)>,
}

impl Move {
    pub(super) fn apply(&self, folders: &mut HashMap<Node, Folder>) {
        for (folder, name, node) in &self.entries {
            let Some(folder) = folders.get_mut(folder) else { continue };
            match node {
                Some(node) => folder.safe.insert(name.clone(), *node),
                None => folder.safe.remove(name),
            };
        }
    }
}

pub(crate) struct Disk {
    pub(super) names: Names,
    pub(super) files: HashMap<Node, File>,
    pub(super) folders: HashMap<Node, Folder>,
    pub(super) moves: Vec<Move>,
    pub(super) moment: u64,
    next: Node,
    held_bytes: usize,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(names: Names) -> Disk {
        Disk {
            names,
            files: HashMap::new(),
            folders: HashMap::from([(ROOT, Folder::default())]),
            moves: Vec::new(),
            moment: 0,
            next: FIRST_NODE,
            held_bytes: 0,
        }
    }

    /// What a node is.
    pub(crate) fn is(&self, node: Node) -> Result<Is, Refusal> {
        match self.files.get(&node) {
            Some(file) => Ok(Is::File { bytes: file.now.len() }),
            None if self.folders.contains_key(&node) => Ok(Is::Folder),
            None => Err(Refusal::NotFound),
        }
    }

    /// What a name in a folder stands for.
    pub(crate) fn find(&self, folder: Node, name: &OsStr) -> Result<Node, Refusal> {
        self.folder(folder)?.now.get(name).copied().ok_or(Refusal::NotFound)
    }

    /// All names of a folder, in order of their nodes.
    pub(crate) fn list(&self, folder: Node) -> Result<Vec<(Node, OsString)>, Refusal> {
        let entries = &self.folder(folder)?.now;
        let mut entries: Vec<_> = entries.iter().map(|(name, node)| (*node, name.clone())).collect();
        entries.sort();
        Ok(entries)
    }

    /// Makes an empty file.
    pub(crate) fn make_file(&mut self, folder: Node, name: &OsStr) -> Result<Node, Refusal> {
        let node = self.name_new(folder, name)?;
        self.files.insert(node, File::default());
        Ok(node)
    }

    /// Makes an empty folder.
    pub(crate) fn make_folder(&mut self, folder: Node, name: &OsStr) -> Result<Node, Refusal> {
        let node = self.name_new(folder, name)?;
        self.folders.insert(node, Folder::default());
        Ok(node)
    }

    /// Takes the name of a file away; who has it open may go on.
    pub(crate) fn remove_file(&mut self, folder: Node, name: &OsStr) -> Result<(), Refusal> {
        match self.is(self.find(folder, name)?)? {
            Is::Folder => Err(Refusal::IsFolder),
            Is::File { .. } => self.rename_all(vec![(folder, name.to_owned(), None)]),
        }
    }

    /// Takes an empty folder away.
    pub(crate) fn remove_folder(&mut self, folder: Node, name: &OsStr) -> Result<(), Refusal> {
        if !self.folder(self.find(folder, name)?)?.now.is_empty() {
            return Err(Refusal::NotEmpty);
        }
        self.rename_all(vec![(folder, name.to_owned(), None)])
    }

    /// Gives a node another name, and takes that name from a file that had it.
    pub(crate) fn rename(&mut self, from: (Node, &OsStr), to: (Node, &OsStr)) -> Result<(), Refusal> {
        let node = self.find(from.0, from.1)?;
        match self.find(to.0, to.1).and_then(|taken| self.is(taken)) {
            Ok(Is::Folder) => return Err(Refusal::Exists),
            Ok(Is::File { .. }) if self.is(node)? == Is::Folder => return Err(Refusal::NotFolder),
            Ok(Is::File { .. }) | Err(_) => {}
        }
        self.rename_all(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(node))])
    }

    /// At most `bytes` of a file from `offset` on.
    pub(crate) fn read(&self, node: Node, offset: usize, bytes: usize) -> Result<&[u8], Refusal> {
        let content = &self.files.get(&node).ok_or(Refusal::IsFolder)?.now;
        let start = offset.min(content.len());
        Ok(&content[start..(start.saturating_add(bytes)).min(content.len())])
    }

    /// Writes into a file.
    pub(crate) fn write(&mut self, node: Node, offset: usize, data: &[u8]) -> Result<(), Refusal> {
        self.change(node, What::Write { offset, data: data.to_owned() })
    }

    /// Makes a file shorter, or longer by zeros.
    pub(crate) fn resize(&mut self, node: Node, bytes: usize) -> Result<(), Refusal> {
        self.change(node, What::Resize { bytes })
    }

    /// Makes a file or folder safe.
    pub(crate) fn sync(&mut self, node: Node) -> Result<(), Refusal> {
        if let Is::File { .. } = self.is(node)? {
            let file = self.files.get_mut(&node).ok_or(Refusal::NotFound)?;
            for change in file.changes.drain(..) {
                self.held_bytes -= change.what.held_bytes();
                change.what.apply(&mut file.safe);
            }
        }
        let (names, folders) = (self.names, &mut self.folders);
        self.moves.retain(|change| {
            let is_safe =
                names == Names::InOneJournal || change.entries.iter().any(|(folder, ..)| *folder == node);
            if is_safe {
                change.apply(folders);
            }
            !is_safe
        });
        Ok(())
    }

    /// What the disk was given of a file since the last sync is lost, but for the file's length.
    pub(crate) fn forget(&mut self, node: Node) {
        let Some(file) = self.files.get_mut(&node) else { return };
        let bytes = file.now.len();
        let lost: usize = file.changes.drain(..).map(|change| change.what.held_bytes()).sum();
        self.held_bytes -= lost;
        file.now.clone_from(&file.safe);
        file.now.resize(bytes, 0);
        self.moment += 1;
        file.changes.push(Change { moment: self.moment, what: What::Resize { bytes } });
    }

    /// The name of a file or folder.
    pub(crate) fn name_of(&self, node: Node) -> Option<&OsStr> {
        let names = self.folders.values().flat_map(|folder| &folder.now);
        names.into_iter().find(|(_, named)| **named == node).map(|(name, _)| name.as_os_str())
    }

    /// What was left by a power cut becomes what programs see; what has no name any more is gone.
    pub(super) fn settle(&mut self) {
        self.moves.clear();
        let mut found = vec![ROOT];
        let mut seen = 0;
        while let Some(node) = found.get(seen).copied() {
            found.extend(self.folders.get(&node).into_iter().flat_map(|folder| folder.safe.values()));
            seen += 1;
        }
        self.files.retain(|node, _| found.contains(node));
        self.folders.retain(|node, _| found.contains(node));
        for folder in self.folders.values_mut() {
            folder.now = folder.safe.clone();
        }
        for file in self.files.values_mut() {
            file.changes.clear();
            file.now = file.safe.clone();
        }
        self.held_bytes = self.files.values().map(|file| file.now.len()).sum();
    }

    fn folder(&self, node: Node) -> Result<&Folder, Refusal> {
        self.folders.get(&node).ok_or(Refusal::NotFolder)
    }

    fn name_new(&mut self, folder: Node, name: &OsStr) -> Result<Node, Refusal> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Refusal::Exists);
        }
        let node = self.next;
        self.next += 1;
        self.rename_all(vec![(folder, name.to_owned(), Some(node))])?;
        Ok(node)
    }

    fn rename_all(&mut self, entries: Vec<(Node, OsString, Option<Node>)>) -> Result<(), Refusal> {
        for (folder, name, node) in &entries {
            let folder = self.folders.get_mut(folder).ok_or(Refusal::NotFolder)?;
            match node {
                Some(node) => folder.now.insert(name.clone(), *node),
                None => folder.now.remove(name),
            };
        }
        self.moment += 1;
        self.moves.push(Move { moment: self.moment, entries });
        Ok(())
    }

    fn change(&mut self, node: Node, what: What) -> Result<(), Refusal> {
        let file = self.files.get_mut(&node).ok_or(Refusal::IsFolder)?;
        let before = file.now.len();
        let after = match &what {
            What::Write { offset, data } => before.max(offset.checked_add(data.len()).ok_or(Refusal::Full)?),
            What::Resize { bytes } => *bytes,
        };
        let held_bytes = (self.held_bytes - before).checked_add(after + what.held_bytes());
        self.held_bytes = held_bytes.filter(|bytes| *bytes <= BYTES_MAX).ok_or(Refusal::Full)?;
        what.apply(&mut file.now);
        self.moment += 1;
        file.changes.push(Change { moment: self.moment, what });
        Ok(())
    }
}
