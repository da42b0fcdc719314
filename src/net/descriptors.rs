//! How many descriptors this process may have open. Owns the system's limit; does not know who opens them.

/// Raises the limit as far as this process may, and says how many may be open then; none where the system does not tell.
/// Shells begin with 1,024 for the sake of programs that know no better, and a link takes two.
#[allow(unsafe_code)]
pub fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes one rlimit to where it is told, which is one that lives.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return None;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: setrlimit(2) reads one rlimit, which lives; descriptors that are open stay so, for it is not lowered.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    #[allow(clippy::unnecessary_cast, reason = "it has 32 bits on some systems")]
    Some(limit.rlim_cur as u64)
}
