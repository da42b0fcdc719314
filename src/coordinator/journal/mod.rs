//! The journal: what a job needs to go on after the coordinator has ended in whatever way, and the ledger of what its
//! tasks came to. One thread writes it, behind the engine: jobs do not wait for the disk, only what their watchers are
//! told does. Steps that end while others are being written share the next write.
//!
//! Owns what is written and when it counts as durable; does not know what a job does next (`engine`), nor sockets. Without
//! a directory everything but the weights is kept in memory, and durable at once.
//!
//! | file | owns |
//! |---|---|
//! | `directory` | files and their places |
//! | `state` | a state's layout |
//! | `ledger` | the layout of the ledger's blocks |
//! | `job_writer` | a job that is being written |
//! | `retention` | what is kept, in bytes, and what goes first |
//! | `underway` | what is being done that may be too much for the machine |
//! | `command` | what it is told and what it tells |
//! | `writer` | its thread |
//! | `archive` | what is read while the journal is being written |
//! | `shelved` | what may be told of a job that is written |
//! | `reading` | what is read of a job that is written |
//! | `recovery` | what is done with all of it at the start |
//! | `recall` | jobs that were given up and go on |

mod archive;
mod command;
mod directory;
mod job_writer;
mod ledger;
mod reading;
mod recall;
mod recovery;
mod retention;
mod shelved;
mod state;
#[cfg(test)]
mod tests;
mod underway;
mod writer;

pub(super) use archive::{Archive, Bookmark, DiskRoom};
pub use command::OnDiskError;
pub(super) use command::{JobMemory, JournalCommand, JournalEvent, Keeping, Recalled, Restored};
pub(super) use directory::Directory;
pub use directory::OpenError;
pub(super) use shelved::Absent;
pub(super) use underway::{HeavyStep, Underway};
pub(super) use writer::start;
