//! A file system that fails as disks do, and forgets what a real one would when the power goes.
//!
//! It lies in memory and is mounted by FUSE (as root). *Data* is durable up to its file's last fsync; of what was written
//! since, each write may or may not survive a power cut. *Names* (made, renamed, removed) are kept in order, as a journal
//! does: fsync of a folder makes all up to then durable, and of the later ones the first few survive. Neither waits for the
//! other: a renamed file may survive whose data doesn't.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rand::Rng;

/// Nothing is remembered by the kernel: after a power cut all is another.
const NOT_CACHED: Duration = Duration::ZERO;
const ROOT: u64 = 1;
const BLOCK: u32 = 4096;
/// What it says that is free when it isn't full, blocks: 100 GB.
const FREE_BLOCKS: u64 = 25_000_000;

/// What befalls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// From then on nothing is done any more, until [`Disk::revive`].
    Cut,
    /// What takes space fails with ENOSPC, for so many operations.
    Full(u64),
    /// What changes anything, or makes it durable, fails with EIO, for so many operations.
    Broken(u64),
    /// A write writes the first half of what it was given, for so many operations.
    Short(u64),
}

/// What survives a [`Fault::Cut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// All that was done: a process was killed, and the system lives on.
    Everything,
    /// What was durable, and some of the rest.
    WhatWasSynced,
}

/// The disk, mounted until it is dropped.
pub struct Disk {
    shared: Arc<Shared>,
    _session: BackgroundSession,
}

struct Shared {
    state: Mutex<State>,
    cut: Condvar,
}

/// Every folder's entries.
type Names = HashMap<u64, BTreeMap<OsString, u64>>;

#[derive(Debug, Clone)]
enum NameChange {
    Made { folder: u64, name: OsString, node: u64, is_folder: bool },
    Removed { folder: u64, name: OsString },
    Renamed { from: (u64, OsString), to: (u64, OsString) },
}

#[derive(Debug, Clone)]
enum DataChange {
    Written(u64, Vec<u8>),
    Resized(u64),
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<DataChange>,
}

struct Node {
    mode: u16,
    modified: SystemTime,
    /// `None` for a folder.
    content: Option<Content>,
}

struct State {
    nodes: HashMap<u64, Node>,
    now: Names,
    durable: Names,
    journal: Vec<NameChange>,
    next: u64,
    /// What open folders listed.
    listings: HashMap<u64, Vec<(u64, FileType, OsString)>>,
    /// Operations that change anything or make it durable, so far.
    operations: u64,
    planned: Option<(u64, Fault)>,
    is_cut: bool,
}

/// What an operation is to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    TakesSpace,
    Changes,
}

impl Disk {
    /// Mounts an empty one.
    ///
    /// # Errors
    /// Not root, or no FUSE.
    pub fn mount(at: &Path) -> io::Result<Disk> {
        let folder = Node { mode: 0o755, modified: SystemTime::now(), content: None };
        let names = HashMap::from([(ROOT, BTreeMap::new())]);
        let state = State {
            nodes: HashMap::from([(ROOT, folder)]),
            now: names.clone(),
            durable: names,
            journal: Vec::new(),
            next: ROOT + 1,
            listings: HashMap::new(),
            operations: 0,
            planned: None,
            is_cut: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), cut: Condvar::new() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".to_owned())];
        let session = fuser::spawn_mount(Mounted(Arc::clone(&shared)), at, &config)?;
        Ok(Disk { shared, _session: session })
    }

    /// Plans a fault after so many more operations that change anything; forgets what was planned before.
    pub fn plan(&self, after: u64, fault: Fault) {
        let mut state = self.shared.lock();
        state.planned = Some((state.operations + after, fault));
    }

    /// Cuts it now if it isn't.
    pub fn cut(&self) {
        self.shared.lock().is_cut = true;
        self.shared.cut.notify_all();
    }

    /// Waits for the planned cut; false if it didn't come in time.
    pub fn wait_for_cut(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.shared.lock();
        while !state.is_cut {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            state =
                self.shared.cut.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Operations so far that changed anything or made it durable.
    pub fn operations(&self) -> u64 {
        self.shared.lock().operations
    }

    /// Works again, with what survived; nothing is planned then. Nobody may have a file of it open.
    pub fn revive(&self, survives: Survives, random: &mut impl Rng) {
        let mut state = self.shared.lock();
        if survives == Survives::WhatWasSynced {
            state.forget(random);
        }
        state.is_cut = false;
        state.planned = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn change(&mut self, change: DataChange) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn forget(&mut self, random: &mut impl Rng) {
        // All, none, or each by itself.
        let chance = [0.0, 1.0, 0.5][random.random_range(0..3)];
        for change in self.pending.drain(..) {
            if random.random_bool(chance) {
                change.apply(&mut self.durable);
            }
        }
        self.now.clone_from(&self.durable);
    }
}

impl DataChange {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            DataChange::Written(at, bytes) => {
                let at = *at as usize;
                if data.len() < at + bytes.len() {
                    data.resize(at + bytes.len(), 0);
                }
                data[at..at + bytes.len()].copy_from_slice(bytes);
            }
            DataChange::Resized(length) => data.resize(*length as usize, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Made { folder, name, node, is_folder } => {
                names.entry(*folder).or_default().insert(name.clone(), *node);
                if *is_folder {
                    names.entry(*node).or_default();
                }
            }
            NameChange::Removed { folder, name } => {
                names.entry(*folder).or_default().remove(name);
            }
            NameChange::Renamed { from, to } => {
                if let Some(node) = names.entry(from.0).or_default().remove(&from.1) {
                    names.entry(to.0).or_default().insert(to.1.clone(), node);
                }
            }
        }
    }
}

impl State {
    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.now);
        self.journal.push(change);
    }

    fn sync_names(&mut self) {
        for change in self.journal.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn forget(&mut self, random: &mut impl Rng) {
        let survive = random.random_range(0..=self.journal.len());
        for change in self.journal.drain(..).take(survive) {
            change.apply(&mut self.durable);
        }
        self.now = self.durable.clone();
        self.listings.clear();
        let mut reached = BTreeSet::new();
        let mut folders = vec![ROOT];
        while let Some(folder) = folders.pop() {
            reached.insert(folder);
            for node in self.now.get(&folder).into_iter().flat_map(BTreeMap::values) {
                if self.now.contains_key(node) {
                    folders.push(*node)
                } else {
                    reached.insert(*node);
                }
            }
        }
        self.nodes.retain(|node, _| reached.contains(node));
        self.now.retain(|node, _| reached.contains(node));
        self.durable.retain(|node, _| reached.contains(node));
        // In order, so that a seed gives the same again.
        for node in reached {
            if let Some(content) = self.nodes.get_mut(&node).and_then(|node| node.content.as_mut())
            {
                content.forget(random);
            }
        }
    }

    fn child(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        let entries = self.now.get(&folder).ok_or(Errno::ENOENT)?;
        entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn content(&mut self, node: INodeNo) -> Result<&mut Content, Errno> {
        let node = self.nodes.get_mut(&node.0).ok_or(Errno::EIO)?;
        node.content.as_mut().ok_or(Errno::EISDIR)
    }

    fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let node = self.nodes.get(&number).ok_or(Errno::ENOENT)?;
        let size = node.content.as_ref().map_or(0, |content| content.now.len() as u64);
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: node.modified,
            mtime: node.modified,
            ctime: node.modified,
            crtime: node.modified,
            kind: kind(node),
            perm: node.mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    fn make(
        &mut self,
        folder: INodeNo,
        name: &OsStr,
        mode: u32,
        is_folder: bool,
    ) -> Result<FileAttr, Errno> {
        if !self.now.contains_key(&folder.0) {
            return Err(Errno::ENOENT);
        }
        if self.child(folder.0, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let node = self.next;
        self.next += 1;
        let content = (!is_folder).then(Content::default);
        let mode = (mode & 0o7777) as u16;
        self.nodes.insert(node, Node { mode, modified: SystemTime::now(), content });
        let (folder, name) = (folder.0, name.to_owned());
        self.change_names(NameChange::Made { folder, name, node, is_folder });
        self.attributes(node)
    }

    fn remove(&mut self, folder: INodeNo, name: &OsStr, is_folder: bool) -> Result<(), Errno> {
        let node = self.child(folder.0, name)?;
        match self.now.get(&node) {
            Some(_) if !is_folder => return Err(Errno::EISDIR),
            Some(entries) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            None if is_folder => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.change_names(NameChange::Removed { folder: folder.0, name: name.to_owned() });
        Ok(())
    }
}

fn kind(node: &Node) -> FileType {
    if node.content.is_some() { FileType::RegularFile } else { FileType::Directory }
}

/// What the kernel asks.
struct Mounted(Arc<Shared>);

impl Mounted {
    /// Does an operation unless the disk fails just then; tells whether writes are cut short.
    fn during<T>(
        &self,
        what: Kind,
        operation: impl FnOnce(&mut State, bool) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut state = self.0.lock();
        if what != Kind::Read {
            state.operations += 1;
        }
        let happened =
            state.planned.and_then(|(at, fault)| Some((state.operations.checked_sub(at)?, fault)));
        let mut short = false;
        match happened {
            Some((_, Fault::Cut)) if !state.is_cut => {
                state.is_cut = true;
                self.0.cut.notify_all();
            }
            Some((since, Fault::Full(length))) if since < length && what == Kind::TakesSpace => {
                return Err(Errno::ENOSPC);
            }
            Some((since, Fault::Broken(length))) if since < length && what != Kind::Read => {
                return Err(Errno::EIO);
            }
            Some((since, Fault::Short(length))) => short = since < length,
            _ => {}
        }
        if state.is_cut {
            return Err(Errno::EIO);
        }
        operation(&mut state, short)
    }
}

/// Gives the answer, or the error.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $given:expr) => {
        match $result {
            Ok($value) => $given,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.during(Kind::Read, |state, _| {
            let node = state.child(parent.0, name)?;
            state.attributes(node)
        });
        answer!(reply, found, attr => reply.entry(&NOT_CACHED, &attr, Generation(0)));
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.during(Kind::Read, |state, _| state.attributes(node.0));
        answer!(reply, found, attr => reply.attr(&NOT_CACHED, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let done = self.during(Kind::Changes, |state, _| {
            if let Some(size) = size {
                state.content(node)?.change(DataChange::Resized(size));
            }
            let found = state.nodes.get_mut(&node.0).ok_or(Errno::ENOENT)?;
            if let Some(mode) = mode {
                found.mode = (mode & 0o7777) as u16;
            }
            match modified {
                Some(TimeOrNow::SpecificTime(time)) => found.modified = time,
                Some(TimeOrNow::Now) => found.modified = SystemTime::now(),
                None => {}
            }
            state.attributes(node.0)
        });
        answer!(reply, done, attr => reply.attr(&NOT_CACHED, &attr));
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made =
            self.during(Kind::TakesSpace, |state, _| state.make(parent, name, mode & !umask, true));
        answer!(reply, made, attr => reply.entry(&NOT_CACHED, &attr, Generation(0)));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self
            .during(Kind::TakesSpace, |state, _| state.make(parent, name, mode & !umask, false));
        answer!(reply, made, attr => reply.created(&NOT_CACHED, &attr, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.during(Kind::Changes, |state, _| state.remove(parent, name, false)), () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.during(Kind::Changes, |state, _| state.remove(parent, name, true)), () => reply.ok());
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
        let done = self.during(Kind::Changes, |state, _| {
            state.child(parent.0, name)?;
            let taken = state.child(new_parent.0, new_name).ok();
            if taken.is_some() && flags.contains(RenameFlags::RENAME_NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            let full = taken.and_then(|node| state.now.get(&node)).is_some_and(|e| !e.is_empty());
            if full {
                return Err(Errno::ENOTEMPTY);
            }
            let (from, to) = ((parent.0, name.to_owned()), (new_parent.0, new_name.to_owned()));
            state.change_names(NameChange::Renamed { from, to });
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn link(&self, _: &Request, node: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let done = self.during(Kind::TakesSpace, |state, _| {
            if state.child(parent.0, name).is_ok() {
                return Err(Errno::EEXIST);
            }
            let (folder, name) = (parent.0, name.to_owned());
            state.change_names(NameChange::Made { folder, name, node: node.0, is_folder: false });
            state.attributes(node.0)
        });
        answer!(reply, done, attr => reply.entry(&NOT_CACHED, &attr, Generation(0)));
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let found = self.during(Kind::Read, |state, _| state.attributes(node.0));
        answer!(reply, found, _ => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.during(Kind::Read, |state, _| {
            let data = &state.content(node)?.now;
            let start = data.len().min(offset as usize);
            let end = data.len().min(start + size as usize);
            Ok(data[start..end].to_vec())
        });
        answer!(reply, read, data => reply.data(&data));
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
        let written = self.during(Kind::TakesSpace, |state, short| {
            let data = if short { &data[..data.len().div_ceil(2)] } else { data };
            state.content(node)?.change(DataChange::Written(offset, data.to_vec()));
            if let Some(node) = state.nodes.get_mut(&node.0) {
                node.modified = SystemTime::now();
            }
            Ok(data.len() as u32)
        });
        answer!(reply, written, length => reply.written(length));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let done = self.during(Kind::Changes, |state, _| {
            state.content(node)?.sync();
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let done = self.during(Kind::Changes, |state, _| {
            state.sync_names();
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn opendir(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.during(Kind::Read, |state, _| {
            let entries = state.now.get(&node.0).ok_or(Errno::ENOENT)?;
            let listing = entries.iter().filter_map(|(name, node)| {
                Some((*node, kind(state.nodes.get(node)?), name.clone()))
            });
            let listing = listing.collect();
            let handle = state.next;
            state.next += 1;
            state.listings.insert(handle, listing);
            Ok(handle)
        });
        answer!(reply, opened, handle => reply.opened(FileHandle(handle), FopenFlags::empty()));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let done = self.during(Kind::Read, |state, _| {
            let listing = state.listings.get(&handle.0).ok_or(Errno::EBADF)?;
            for (place, (node, kind, name)) in (1..).zip(listing).skip(offset as usize) {
                if reply.add(INodeNo(*node), place, *kind, name) {
                    break;
                }
            }
            Ok(())
        });
        answer!(reply, done, () => reply.ok());
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.lock().listings.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.0.lock();
        let is_full = match state.planned {
            Some((at, Fault::Full(length))) => (at..at + length).contains(&state.operations),
            _ => false,
        };
        let free = if is_full { 0 } else { FREE_BLOCKS };
        reply.statfs(2 * FREE_BLOCKS, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}
