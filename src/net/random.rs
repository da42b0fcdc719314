//! Unpredictable bytes from the operating system: ids, nonces, tokens. Nothing here reaches a model.

use rand::TryRng as _;

/// Fills `out` with the operating system's random bytes.
pub fn fill_random(out: &mut [u8]) {
    rand::rngs::SysRng.try_fill_bytes(out).expect("the operating system gives random bytes");
}

/// A random number.
pub fn random_u64() -> u64 {
    let mut out = [0; 8];
    fill_random(&mut out);
    u64::from_le_bytes(out)
}

/// A random number.
pub fn random_u128() -> u128 {
    let mut out = [0; 16];
    fill_random(&mut out);
    u128::from_le_bytes(out)
}
