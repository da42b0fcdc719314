//! Other machines under emulators: the same bits as here, whichever instructions they have; and the codecs where the first
//! byte of a number is its highest.
//!
//! A machine needs its emulator (`qemu-user` has all of them) and what to build for it with (see `toolchain`); where one is
//! missing the test of that machine says so, and passes. On Debian the packages `qemu-user rustc-web rust-web-src` and a
//! cross compiler (`gcc-aarch64-linux-gnu`, `gcc-arm-linux-gnueabihf`, `gcc-s390x-linux-gnu`) are enough with
//! GRADWIRE_BUILD_STD=1.
#![cfg(feature = "client")]

mod big_endian;
#[path = "../common/mod.rs"]
mod common;
mod nodes;
mod refused;
mod toolchain;
