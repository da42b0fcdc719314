//! Bad input and hostile peers, end to end: the real programs on loopback, and whoever means them ill. Every test ends
//! with the question whether the programs still serve who means them well.
//!
//! | module | owns |
//! |---|---|
//! | `bad_input` | command lines, files and data that are wrong |
//! | `console` | people and browsers on a server's port |
//! | `greeting` | attacks before the greeting is over |
//! | `rules` | attacks on an open connection |
//! | `crowd` | many connections that say nothing |
//! | `doctor` | what a doctor says of nodes and of the disk |
//! | `lying_client` | a client's data that is not what it says |
//! | `lying_coordinator` | the same, from a coordinator to a node |
//! | `lying_node` | a compute node that lies |
//! | `holding` | results that a node holds, and who gets them |
//! | `lies` | what becomes of its lies |
//! | `strangers` | who takes all that there is of something |
//! | `watching` | clients that watch and do not read, or watch what is gone |

mod bad_input;
#[path = "../common/mod.rs"]
mod common;
mod console;
mod crowd;
mod doctor;
mod greeting;
mod holding;
mod http;
mod lies;
mod lying_client;
mod lying_coordinator;
mod lying_node;
mod rules;
mod strangers;
mod watching;
