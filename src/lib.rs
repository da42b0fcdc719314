//! gradwire trains multilayer perceptrons on whatever machines you have.
//!
//! Three programs: a `client` asks for a job, a `coordinator_node` cuts it into tasks and merges what comes back, and
//! `compute_node`s train. They talk the binary protocol of `protocol.md` over blocking TCP.
//!
//! # The modules
//!
//! | module | owns | may not know |
//! |---|---|---|
//! | `bin/*` | arguments, logging, exit code | bytes, threads |
//! | [`wire`] | bytes <-> values: header, frames, messages, error codes, limits; the session's rules; what people type and HTTP asks for | sockets, threads, clock, log |
//! | [`net`] | the only user of `std::net`: listen, dial, deadlines, caps, handshake, reader and writer of a link, the console | what is being trained |
//! | [`model`] | the mathematics: network, recipe, local training, loss and metrics, kernels, merging, outer optimiser, model file | network, threads, files other than its own format |
//! | `dataset` | files -> columns and their kinds -> schema -> matrices, targets, validation split, shards | network |
//! | [`job`] | the vocabulary of jobs, shared by all three programs: specification, status, what came of rounds and tasks, outcome, profile | how it travels, is written down or runs |
//! | `engine` | the deciding core, pure: `handle(now, event) -> actions` | sockets, threads, channels, clock, files, log, tensors |
//! | `coordinator` | the threads around the engine: server, links, pollers, merging, the journal | policy: it obeys the engine's actions |
//! | [`compute`] | a node: its pure core, `handle(event) -> actions`; its links, its workers, its server | scheduling |
//! | `client` | submit, watch, render, save; a saved model on raw rows | nodes |
//! | `page` | pages for browsers: frame, style, and that no text becomes markup | everything but `wire::text` |
//! | [`cli`] | what the programs share on the command line: the log, Ctrl-C, exit codes, the terminal's width | what the programs do |
//! | [`close`] | which known word a mistyped one is close to | what the words are |
//! | [`config`] | typed settings; `compute_nodes.txt` with line numbers | everything above |
//! | [`digest`] | SHA-256 names of things | what the things are |
//! | `disk` | how a file takes the place of another, whole | what files hold |
//! | [`store`] | objects in memory by digest, within a budget | how they travel, what they hold |
//! | `build` | before the compiler: machines that would compute otherwise are refused | everything above |
//!
//! The right-hand column is a rule, not a wish: `tests/architecture.rs` checks it.
//!
//! # A job from end to end
//!
//! client file -> `dataset` -> SUBMIT -> `engine` plans tasks -> a link sends TRAIN -> a node trains -> TRAINED ->
//! fetched -> merged -> validated -> next round -> DONE -> client.

pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod close;
pub mod compute;
pub mod config;
#[cfg(feature = "coordinator")]
pub mod coordinator;
#[cfg(feature = "client")]
pub mod dataset;
pub mod digest;
#[cfg(feature = "coordinator")]
mod disk;
#[cfg(feature = "coordinator")]
pub mod engine;
pub mod job;
pub mod model;
pub mod net;
#[cfg(feature = "coordinator")]
mod page;
pub mod store;
pub mod wire;
