//! How much memory a program may plan with, settled once at its start. Owns where the machine's limits are read; does not know
//! what is planned, nor what is free: that is another amount in the next moment, and no promise can be made of it.

use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// What is planned with where no limit can be found out.
const UNKNOWN_BYTES: u64 = 1 << 30;

/// The budget of a program that was asked to take so much. One that was not takes half of the smallest of what the machine
/// has, what the program's control group may have and what it may address; the other half is for the system, for what
/// allocators lose, and for whatever else runs here. No program gets more than it may address.
pub fn memory_budget(asked: Option<u64>) -> u64 {
    let asked = asked.unwrap_or_else(|| memory_there_is().map_or(UNKNOWN_BYTES, |least| least / 2));
    asked.min(addressable_bytes().unwrap_or(u64::MAX))
}

/// The smallest of what the machine has, what the program's control group may have and what it may address.
pub fn memory_there_is() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = [physical_bytes(), group_bytes(Path::new(GROUPS), &groups), addressable_bytes()];
    limits.into_iter().flatten().min()
}

/// The least that a control group of this process or one around it may have. `groups` says which it is in, a line each: of
/// version 2 `0::PATH`, of version 1 a list of what it controls in place of nothing.
fn group_bytes(root: &Path, groups: &str) -> Option<u64> {
    let limits_of = |line: &str| -> Option<u64> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controls, path) = (parts.next()?, parts.next()?);
        let (mount, file) = match controls {
            "" => (root.to_owned(), "memory.max"),
            _ if controls.split(',').any(|control| control == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = mount.join(path.trim_start_matches('/'));
        // Inside a container the path may be another than outside: its own group is the mount then.
        let around = own.ancestors().take_while(|directory| directory.starts_with(&mount));
        around.filter_map(|directory| limit_in(&directory.join(file))).min()
    };
    groups.lines().filter_map(limits_of).min()
}

/// `max`, or a number.
fn limit_in(file: &PathBuf) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Whether the system gives so many bytes to this program now. They are given back at once, untouched: who asks is about to take
/// them, piece by piece, and a piece that is refused would end the program.
#[allow(unsafe_code)]
pub fn can_be_had(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes.max(1)) else { return false };
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: a new mapping at a place that the system chooses touches nothing that is there.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    // SAFETY: it is the mapping that was just made, whole, and nobody else has heard of it.
    place != libc::MAP_FAILED && unsafe { libc::munmap(place, bytes) } == 0
}

#[allow(unsafe_code)]
fn physical_bytes() -> Option<u64> {
    // SAFETY: sysconf(3) takes any number and touches no memory of ours.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(page).ok()?).filter(|bytes| *bytes > 0)
}

#[allow(unsafe_code)]
fn addressable_bytes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes one rlimit to where it is told, which is one that lives.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    #[allow(clippy::unnecessary_cast, reason = "it has 32 bits on some systems")]
    (told && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_given_and_what_is_not_is_half_of_the_least_limit() {
        assert_eq!(memory_budget(Some(3 << 20)), 3 << 20);
        let physical = physical_bytes().unwrap();
        assert!((1..=physical / 2).contains(&memory_budget(None)));
    }

    #[test]
    fn what_the_system_has_can_be_had_and_what_nobody_has_cannot() {
        assert!(can_be_had(0) && can_be_had(1 << 20));
        assert!(!can_be_had(u64::MAX) && !can_be_had(1 << 60));
    }

    /// A node alone has nothing that makes files.
    #[cfg(feature = "client")]
    #[test]
    fn the_least_limit_of_a_control_group_and_those_around_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let read = |groups: &str| group_bytes(root.path(), groups);
        assert_eq!(read("0::/a/b\n"), None);
        write("a/b/memory.max", "max\n");
        assert_eq!(read("0::/a/b\n"), None);
        write("a/memory.max", "5000\n");
        write("a/b/memory.max", "7000\n");
        assert_eq!(read("0::/a/b\n"), Some(5000));
        // The path of another namespace.
        write("memory.max", "9000");
        assert_eq!(read("0::/elsewhere\n"), Some(9000));
        write("memory/c/memory.limit_in_bytes", "800");
        assert_eq!(read("3:cpu,cpuacct:/c\n4:memory:/c\n"), Some(800));
        assert_eq!(read("0::/a\n4:memory:/c\n"), Some(800));
        assert_eq!(read("nonsense"), None);
    }
}
