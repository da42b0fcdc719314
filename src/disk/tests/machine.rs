//! What lies on a simulated disk: bytes and names as programs see them and as they are on the disk, the changes between the
//! two, and what becomes of those. Does not know how it is asked (`simulated`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

/// What is written at once, or not at all.
const SECTOR_BYTES: usize = 512;
/// Where everything begins.
const ROOT: Node = 0;
/// Of so many calls that read or write one does less than it was asked to, or is interrupted.
const SHORT_ONE_IN: u32 = 8;

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The program alone: what it has written is there.
    Kill,
    /// All of it: what was not synced may be there or not.
    Power,
}

pub(super) type Node = usize;
pub(super) type Names = BTreeMap<String, Node>;

pub(super) struct Machine {
    pub(super) rng: ChaCha8Rng,
    pub(super) nodes: Vec<Content>,
    /// Changes of names that are not durable, the earliest first.
    pub(super) renamings: Vec<Renaming>,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) steps: u64,
    pub(super) stops_at: Option<(u64, Stop)>,
    pub(super) fails_at: Option<u64>,
    pub(super) fails_one_in: Option<u32>,
    pub(super) is_full: bool,
    /// Whose files make room when they are removed: a directory's name.
    pub(super) makes_room: Option<&'static str>,
    pub(super) lacks_descriptors: bool,
    pub(super) does_less: bool,
    /// Time that calls have taken, and that a sync takes.
    pub(super) clock_us: u64,
    pub(super) sync_us: u64,
    pub(super) stopped: Option<Stop>,
    /// A file whose syncs do nothing.
    pub(super) forgets: Option<fn(&Path) -> bool>,
    pub(super) recorded: Option<Vec<String>>,
}

pub(super) enum Content {
    File { durable: Vec<u8>, cached: Vec<u8>, changes: Vec<Change> },
    Directory { durable: Names, cached: Names },
}

/// What a file has in memory and not yet on the disk.
pub(super) enum Change {
    /// No more than a sector.
    Bytes(usize, Vec<u8>),
    Size(usize),
}

/// What directories have in memory and not yet on the disk: a name less, and one more; both or neither.
pub(super) struct Renaming {
    less: Option<(Node, String)>,
    more: Option<(Node, String, Node)>,
}

impl Machine {
    /// Nothing is written yet.
    pub(super) fn new(seed: u64) -> Machine {
        Machine {
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: vec![Content::Directory { durable: Names::new(), cached: Names::new() }],
            renamings: Vec::new(),
            locked: BTreeSet::new(),
            steps: 0,
            stops_at: None,
            fails_at: None,
            fails_one_in: None,
            is_full: false,
            makes_room: None,
            lacks_descriptors: false,
            does_less: false,
            clock_us: 0,
            sync_us: 1_000,
            stopped: None,
            forgets: None,
            recorded: None,
        }
    }

    /// One call: it is done, or fails, or is the last before the machine stops.
    pub(super) fn call<T>(
        &mut self,
        what: impl fmt::Display,
        effect: impl FnOnce(&mut Machine) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.stopped.is_some() {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.steps += 1;
        self.clock_us += 10;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(what.to_string());
        }
        if let Some((_, how)) = self.stops_at.filter(|(step, _)| *step == self.steps) {
            if let Some(recorded) = &mut self.recorded {
                recorded.push(format!("STOP: {how:?}"));
            }
            // Nobody hears whether it was done.
            if self.rng.random() {
                let _ = effect(self);
            }
            self.stopped = Some(how);
            return Err(io::Error::other("the machine stops"));
        }
        let fails = self.fails_one_in.is_some_and(|calls| self.rng.random_range(0..calls) == 0);
        if fails || self.fails_at == Some(self.steps) {
            if let Some(recorded) = &mut self.recorded {
                recorded.push("FAILED".to_owned());
            }
            return Err(io::Error::other("input/output error"));
        }
        effect(self)
    }

    pub(super) fn node(&self, path: &Path) -> io::Result<Node> {
        let mut node = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                node = *self.names(node)?.get(&*name.to_string_lossy()).ok_or(ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    pub(super) fn names(&self, node: Node) -> io::Result<&Names> {
        match &self.nodes[node] {
            Content::Directory { cached, .. } => Ok(cached),
            Content::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory that a path lies in, and its name there.
    pub(super) fn place(&self, path: &Path) -> io::Result<(Node, String)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        Ok((self.node(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    pub(super) fn rename(&mut self, less: Option<(Node, String)>, more: Option<(Node, String, Node)>) {
        let renaming = Renaming { less, more };
        renaming.apply(&mut self.nodes, |content| match content {
            Content::Directory { cached, .. } => Some(cached),
            Content::File { .. } => None,
        });
        self.renamings.push(renaming);
    }

    pub(super) fn add(&mut self, path: &Path, content: Content) -> io::Result<Node> {
        if self.is_full {
            return Err(ErrorKind::StorageFull.into());
        }
        let (directory, name) = self.place(path)?;
        self.nodes.push(content);
        let node = self.nodes.len() - 1;
        self.rename(None, Some((directory, name, node)));
        Ok(node)
    }

    pub(super) fn new_file(&mut self, path: &Path) -> io::Result<Node> {
        self.add(path, Content::File { durable: Vec::new(), cached: Vec::new(), changes: Vec::new() })
    }

    /// All files that have a name.
    pub(super) fn files(&self) -> Vec<(PathBuf, Node)> {
        let (mut files, mut left) = (Vec::new(), vec![(PathBuf::from("/"), ROOT)]);
        while let Some((path, node)) = left.pop() {
            match &self.nodes[node] {
                Content::File { .. } => files.push((path, node)),
                Content::Directory { cached, .. } => {
                    left.extend(cached.iter().map(|(name, &node)| (path.join(name), node)));
                }
            }
        }
        files
    }

    /// How many of so many bytes are read or written by one call.
    pub(super) fn share(&mut self, bytes: usize) -> io::Result<usize> {
        if !self.does_less || bytes == 0 || self.rng.random_range(0..SHORT_ONE_IN) != 0 {
            return Ok(bytes);
        }
        if self.rng.random() { Err(ErrorKind::Interrupted.into()) } else { Ok(self.rng.random_range(1..=bytes)) }
    }

    /// Writes to a file.
    pub(super) fn write(&mut self, node: Node, bytes: &[u8], start: usize) -> io::Result<()> {
        let Content::File { cached, changes, .. } = &mut self.nodes[node] else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let end = start + bytes.len();
        if end > cached.len() {
            changes.push(Change::Size(end));
        }
        let mut at = start;
        while at < end {
            let next = end.min((at / SECTOR_BYTES + 1) * SECTOR_BYTES);
            changes.push(Change::Bytes(at, bytes[at - start..next - start].to_vec()));
            at = next;
        }
        Change::Bytes(start, bytes.to_vec()).apply(cached);
        Ok(())
    }

    /// Carries over to the disk what a file or a directory has in memory.
    pub(super) fn sync(&mut self, node: Node) {
        match &mut self.nodes[node] {
            Content::File { durable, changes, .. } => changes.drain(..).for_each(|change| change.apply(durable)),
            Content::Directory { .. } => {
                // A renaming from one directory to another takes along what was done in the other before.
                let mut directories = BTreeSet::from([node]);
                let mut is_synced: Vec<bool> = Vec::new();
                for renaming in self.renamings.iter().rev() {
                    let own = renaming.directories();
                    let is_own = own.iter().any(|directory| directories.contains(directory));
                    is_synced.push(is_own);
                    if is_own {
                        directories.extend(own);
                    }
                }
                let mut left = Vec::new();
                for (renaming, is_synced) in std::mem::take(&mut self.renamings).into_iter().zip(is_synced.iter().rev())
                {
                    if *is_synced {
                        renaming.apply(&mut self.nodes, durable_names);
                    } else {
                        left.push(renaming);
                    }
                }
                self.renamings = left;
            }
        }
    }

    /// A power cut: of what was not synced some is there.
    pub(super) fn lose_what_is_not_durable(&mut self) {
        let luck = [0.0, 0.5, 0.9, 1.0][self.rng.random_range(0..4)];
        // Most file systems keep a row of renamings, up to some moment.
        let in_order = self.rng.random::<bool>();
        let mut goes_on = true;
        for renaming in std::mem::take(&mut self.renamings) {
            let is_there = self.rng.random_bool(luck);
            goes_on &= is_there;
            if if in_order { goes_on } else { is_there } {
                renaming.apply(&mut self.nodes, durable_names);
            }
        }
        for content in &mut self.nodes {
            match content {
                Content::File { durable, cached, changes } => {
                    for change in changes.drain(..) {
                        if self.rng.random_bool(luck) {
                            change.apply(durable);
                        }
                    }
                    cached.clone_from(durable);
                }
                Content::Directory { durable, cached } => cached.clone_from(durable),
            }
        }
    }
}

fn durable_names(content: &mut Content) -> Option<&mut Names> {
    match content {
        Content::Directory { durable, .. } => Some(durable),
        Content::File { .. } => None,
    }
}

impl Renaming {
    pub(super) fn apply(&self, nodes: &mut [Content], names: impl Fn(&mut Content) -> Option<&mut Names>) {
        if let Some((directory, name)) = &self.less
            && let Some(names) = names(&mut nodes[*directory])
        {
            names.remove(name);
        }
        if let Some((directory, name, node)) = &self.more
            && let Some(names) = names(&mut nodes[*directory])
        {
            names.insert(name.clone(), *node);
        }
    }

    fn directories(&self) -> Vec<Node> {
        let less = self.less.iter().map(|(directory, _)| *directory);
        less.chain(self.more.iter().map(|(directory, ..)| *directory)).collect()
    }
}

impl Change {
    pub(super) fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Change::Size(bytes) => file.resize(*bytes, 0),
            Change::Bytes(offset, bytes) => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}
