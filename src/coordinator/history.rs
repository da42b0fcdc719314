//! What has been told of a job before somebody came to watch it: read from the archive page by page, by one thread for all,
//! and told as fast as the watcher's connection takes it. So a watcher that does not read, and a history of a million rounds,
//! cost one page. Owns who is behind, one watcher a connection at a time; does not know what follows once he is not (`driver`).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use super::event::DriverEvent;
use super::handles::ClientKey;
use super::journal::{Absent, Archive, Bookmark};
use super::threads::Threads;
use super::watcher::Watcher;
use crate::job::JobId;

/// A watcher that is behind, and where it is in the job's ledger.
pub(super) struct History {
    job: JobId,
    watcher: Watcher,
    /// None before its first page.
    bookmark: Option<Bookmark>,
    /// Rounds that the watcher had seen before that.
    seen_before: u32,
}

impl History {
    pub(super) fn new(job: JobId, watcher: Watcher) -> History {
        let seen_before = watcher.rounds_seen;
        History { job, watcher, bookmark: None, seen_before }
    }
}

/// Starts the thread that reads. It ends when `stopped` does.
pub(super) fn start(
    threads: &Threads,
    archive: Arc<Archive>,
    events: Sender<DriverEvent>,
    stopped: Receiver<()>,
) -> io::Result<(Sender<History>, JoinHandle<()>)> {
    // One a connection, at most: whoever gives one in must not wait.
    let (turns, histories) = unbounded();
    let reader = Reader { archive, events, turns: turns.clone() };
    let run = move || {
        loop {
            select! {
                recv(histories) -> history => match history {
                    Ok(history) => reader.turn(history),
                    Err(_) => return,
                },
                recv(stopped) -> _ => return,
            }
        }
    };
    Ok((turns, threads.start("history", run)?))
}

struct Reader {
    archive: Arc<Archive>,
    events: Sender<DriverEvent>,
    /// Those whose last page has left come again, behind the others.
    turns: Sender<History>,
}

impl Reader {
    /// Tells a watcher of the next page. The driver hears when there is none.
    fn turn(&self, mut history: History) {
        let link = history.watcher.client.link.clone();
        let is_whole = match self.tell_page(&mut history) {
            Ok(true) => {
                let turns = self.turns.clone();
                // A connection that has ended before is reported by its reader.
                return link.when_sent(move || drop(turns.send(history)));
            }
            // Who is behind and is told nothing is told nothing the next time either.
            Ok(false) => history.watcher.rounds_seen > history.seen_before,
            Err(why) => {
                log::warn!("job {}: what was told of its rounds is lost: {why}", history.job);
                false
            }
        };
        let History { job, watcher, .. } = history;
        let _ = self.events.send(DriverEvent::CaughtUp { job, watcher, is_whole });
    }

    /// Whether there was a page.
    fn tell_page(&self, History { job, watcher, bookmark, .. }: &mut History) -> Result<bool, String> {
        if !watcher.client.link.is_open(watcher.request) {
            return Ok(false);
        }
        let bookmark = match bookmark {
            Some(bookmark) => bookmark,
            None => match self.archive.bookmark(*job, watcher.rounds_seen) {
                Ok(found) => bookmark.insert(found),
                // It has been forgotten meanwhile, which the driver knows; or its files have been removed.
                Err(Absent::Unknown) => return Ok(false),
                Err(Absent::Unread(why)) => return Err(why),
            },
        };
        let Some(rounds) = self.archive.rounds_behind(bookmark)? else { return Ok(false) };
        watcher.tell_rounds(&rounds);
        Ok(true)
    }
}

/// The connections with a watcher that is behind.
#[derive(Default)]
pub(super) struct Behind(HashMap<ClientKey, Connection>);

/// One of them.
struct Connection {
    /// The request that is told of its history.
    request: u32,
    job: JobId,
    is_submitter: bool,
    /// Those whose turn comes after it.
    waiting: VecDeque<History>,
}

impl Behind {
    /// A watcher is behind. It is given back if its turn is now.
    pub(super) fn begin(&mut self, history: History) -> Option<History> {
        let watcher = &history.watcher;
        if let Some(connection) = self.0.get_mut(&watcher.client.key) {
            connection.waiting.push_back(history);
            return None;
        }
        let (request, job, is_submitter) = (watcher.request, history.job, watcher.is_submitter);
        let waiting = VecDeque::new();
        self.0.insert(watcher.client.key, Connection { request, job, is_submitter, waiting });
        Some(history)
    }

    /// A connection's watcher is no longer behind: whose turn is next. None if the connection is not known any more.
    pub(super) fn end(&mut self, client: ClientKey) -> Option<Option<History>> {
        let mut waiting = self.0.remove(&client)?.waiting;
        let next = waiting.pop_front().and_then(|next| self.begin(next));
        if let Some(connection) = self.0.get_mut(&client) {
            connection.waiting = waiting;
        }
        Some(next)
    }

    /// The job whose history this request is told of, and whether it has submitted it.
    pub(super) fn watched_by(&self, client: ClientKey, request: u32) -> Option<(JobId, bool)> {
        let connection = self.0.get(&client)?;
        let waiting =
            connection.waiting.iter().map(|History { job, watcher, .. }| (watcher.request, *job, watcher.is_submitter));
        let mut all = waiting.chain([(connection.request, connection.job, connection.is_submitter)]);
        all.find(|(other, ..)| *other == request).map(|(_, job, is_submitter)| (job, is_submitter))
    }

    /// A client has gone.
    pub(super) fn client_gone(&mut self, client: ClientKey) {
        self.0.remove(&client);
    }
}
