//! Ids, and unpredictable bytes from the operating system: nonces, tokens. Nothing here reaches a model.

use rand::TryRng as _;

use crate::digest::Digest;
use crate::wire::Role;

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

/// A program's id: the same for a role, a machine and a port across restarts; random where the machine has no id.
pub fn persistent_id(role: Role, port: u16, machine_id: Option<Vec<u8>>) -> [u8; 16] {
    let machine_id = machine_id.unwrap_or_else(|| random_u128().to_le_bytes().to_vec());
    let digest = Digest::of_parts(&[b"gradwire id", &[role as u8], &machine_id, &port.to_le_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    id
}
