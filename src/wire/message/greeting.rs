//! HELLO and WELCOME: a fixed part that no version may change, then tagged fields.

use super::layout::Layout;
use crate::digest::Digest;
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};
use crate::wire::header::VERSION;
use crate::wire::limits;
use crate::wire::session::Role;

/// Arithmetics listed in a greeting, at most.
const ARITHMETICS_MAX: usize = 64;
/// Arithmetics that a greeting proves, at most.
const CONFORMANCE_MAX: usize = 16;
/// Bytes of such a proof.
const CONFORMANCE_BYTES: usize = 34;
/// Fields whose tag has this bit may be skipped by who does not know them.
const SKIPPABLE: u16 = 0x8000;

mod tag {
    pub const CLUSTER: u16 = 0x0001;
    pub const ARITHMETICS: u16 = 0x0002;
    pub const WORKERS: u16 = 0x8001;
    pub const NAME: u16 = 0x8002;
    pub const SOFTWARE: u16 = 0x8003;
    pub const CONFORMANCE: u16 = 0x8004;
    pub const MEMORY: u16 = 0x8005;
    pub const CACHE: u16 = 0x8006;
    pub const LOAD: u16 = 0x8007;
}

/// What a peer says of itself beyond the fixed part of its greeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The cluster that the peer belongs to; peers that both name one must agree.
    pub cluster: Option<String>,
    /// Arithmetics that a node computes exactly.
    pub arithmetics: Vec<u16>,
    /// Tasks that a node trains at once.
    pub workers: Option<u32>,
    /// What a person calls the peer.
    pub name: Option<String>,
    /// Program and version, for people.
    pub software: Option<String>,
    /// Of arithmetics that a node computes, in ascending order, the digest of the vector that shows it (docs/arithmetic.md,
    /// section 15).
    pub conformance: Vec<(u16, Digest)>,
    /// Memory that a node's tasks may take together.
    pub memory_bytes: Option<u64>,
    /// Bytes of data that a node keeps for tasks to come.
    pub cache_bytes: Option<u64>,
    /// Of a node that injects load: how likely it does so, in parts of a million.
    pub load_ppm: Option<u32>,
}

/// The dialler's greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Lowest version of the protocol that the dialler speaks.
    pub version_min: u8,
    /// Highest version.
    pub version_max: u8,
    /// What the dialler is.
    pub role: Role,
    /// The longest payload that the dialler takes.
    pub payload_bytes_max: u32,
    /// The dialler's persistent id.
    pub id: [u8; 16],
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// The rest.
    pub features: Features,
}

/// The acceptor's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub version: u8,
    /// What the acceptor is.
    pub role: Role,
    /// The longest payload that the acceptor takes.
    pub payload_bytes_max: u32,
    /// The acceptor's persistent id.
    pub id: [u8; 16],
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// The rest.
    pub features: Features,
}

impl Layout<'_> for Hello {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let version_min = reader.u8()?;
        let version_max = reader.u8()?;
        if version_min == 0 || version_min > version_max {
            let got = u64::from(version_min);
            return reader.fail(Malformation::UnknownValue { got });
        }
        let role = role(reader)?;
        reader.reserved(1)?;
        let payload_bytes_max = payload_bytes_max(reader)?;
        let (id, nonce) = (reader.bytes16()?, reader.bytes32()?);
        // The fields of a greeting that offers no version known here are not judged: the answer must be VERSION.
        let features = if (version_min..=version_max).contains(&VERSION) {
            Features::decode(reader)?
        } else {
            reader.rest();
            Features::default()
        };
        Ok(Hello { version_min, version_max, role, payload_bytes_max, id, nonce, features })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&[self.version_min, self.version_max, self.role as u8, 0]);
        out.u32(self.payload_bytes_max);
        out.bytes(&self.id);
        out.bytes(&self.nonce);
        self.features.encode(out);
    }
}

impl Layout<'_> for Welcome {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let version = reader.u8()?;
        reader.reserved(1)?;
        let role = role(reader)?;
        reader.reserved(1)?;
        Ok(Welcome {
            version,
            role,
            payload_bytes_max: payload_bytes_max(reader)?,
            id: reader.bytes16()?,
            nonce: reader.bytes32()?,
            features: Features::decode(reader)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(&[self.version, 0, self.role as u8, 0]);
        out.u32(self.payload_bytes_max);
        out.bytes(&self.id);
        out.bytes(&self.nonce);
        self.features.encode(out);
    }
}

fn role(reader: &mut Reader<'_>) -> Read<Role> {
    let got = reader.u8()?;
    match Role::from_number(got) {
        Some(role) => Ok(role),
        None => reader.fail(Malformation::UnknownValue { got: got.into() }),
    }
}

/// What the peer takes: never less than a greeting, or not even an ERROR could be sent to it.
fn payload_bytes_max(reader: &mut Reader<'_>) -> Read<u32> {
    let got = reader.u32()?;
    if got < limits::GREETING_PAYLOAD_BYTES_MAX {
        let wanted = limits::GREETING_PAYLOAD_BYTES_MAX;
        return reader.fail(Malformation::Refused(format!("payloads of {wanted} bytes must be taken, not of {got}")));
    }
    Ok(got)
}

impl Layout<'_> for Features {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let mut features = Features::default();
        let mut last = None;
        while reader.left() > 0 {
            let tag = reader.u16()?;
            if last.is_some_and(|last| tag <= last) {
                return reader.fail(Malformation::FieldOrder { tag });
            }
            last = Some(tag);
            let bytes = usize::from(reader.u16()?);
            let mut field = reader.sub("a field of the greeting", bytes)?;
            match tag {
                tag::CLUSTER => features.cluster = Some(field.rest_as_name()?),
                tag::ARITHMETICS => {
                    let count = field.left() / 2;
                    if count == 0 {
                        return field.fail(Malformation::DefaultWritten { tag });
                    }
                    if count > ARITHMETICS_MAX {
                        let (got, allowed) = (count as u64, ARITHMETICS_MAX as u64);
                        return field.fail(Malformation::OverLimit { got, allowed });
                    }
                    for _ in 0..count {
                        features.arithmetics.push(field.u16()?);
                    }
                }
                tag::WORKERS => features.workers = Some(field.u32()?),
                tag::NAME => features.name = Some(field.rest_as_name()?),
                tag::SOFTWARE => features.software = Some(field.sentence()?),
                tag::CONFORMANCE => {
                    let count = field.left() / CONFORMANCE_BYTES;
                    if count == 0 {
                        return field.fail(Malformation::DefaultWritten { tag });
                    }
                    if count > CONFORMANCE_MAX {
                        let (got, allowed) = (count as u64, CONFORMANCE_MAX as u64);
                        return field.fail(Malformation::OverLimit { got, allowed });
                    }
                    for _ in 0..count {
                        let (arithmetic, digest) = (field.u16()?, Digest(field.bytes32()?));
                        if features.conformance.last().is_some_and(|(last, _)| arithmetic <= *last) {
                            let text = "conformance entries must be in ascending order, each arithmetic once";
                            return field.fail(Malformation::Refused(text.to_owned()));
                        }
                        features.conformance.push((arithmetic, digest));
                    }
                }
                tag::MEMORY => features.memory_bytes = Some(field.u64()?),
                tag::CACHE => features.cache_bytes = Some(field.u64()?),
                tag::LOAD => features.load_ppm = Some(field.u32()?),
                _ if tag & SKIPPABLE != 0 => {
                    field.rest();
                }
                _ => return reader.fail(Malformation::UnknownField { tag }),
            }
            field.end()?;
        }
        Ok(features)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut field = |tag: u16, bytes: &[u8]| {
            out.u16(tag);
            out.u16(bytes.len() as u16);
            out.bytes(bytes);
        };
        if let Some(cluster) = &self.cluster {
            field(tag::CLUSTER, cluster.as_bytes());
        }
        if !self.arithmetics.is_empty() {
            let bytes: Vec<u8> = self.arithmetics.iter().flat_map(|number| number.to_le_bytes()).collect();
            field(tag::ARITHMETICS, &bytes);
        }
        if let Some(workers) = self.workers {
            field(tag::WORKERS, &workers.to_le_bytes());
        }
        if let Some(name) = &self.name {
            field(tag::NAME, name.as_bytes());
        }
        if let Some(software) = &self.software {
            let mut bytes = Vec::new();
            bytes.sentence(software);
            field(tag::SOFTWARE, &bytes);
        }
        if !self.conformance.is_empty() {
            let mut bytes = Vec::new();
            for (arithmetic, digest) in &self.conformance {
                bytes.u16(*arithmetic);
                bytes.bytes(&digest.0);
            }
            field(tag::CONFORMANCE, &bytes);
        }
        if let Some(memory_bytes) = self.memory_bytes {
            field(tag::MEMORY, &memory_bytes.to_le_bytes());
        }
        if let Some(bytes) = self.cache_bytes {
            field(tag::CACHE, &bytes.to_le_bytes());
        }
        if let Some(load_ppm) = self.load_ppm {
            field(tag::LOAD, &load_ppm.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, MessageType};

    fn hello(version_max: u8) -> Vec<u8> {
        let hello = Hello {
            version_min: version_max,
            version_max,
            role: Role::Node,
            payload_bytes_max: 1 << 20,
            id: [1; 16],
            nonce: [2; 32],
            features: Features::default(),
        };
        Message::from(hello).payload()
    }

    fn decode(payload: &[u8]) -> Result<Message<'_>, Malformation> {
        Message::decode(MessageType::Hello, payload).map_err(|error| error.why)
    }

    #[test]
    fn an_unknown_field_is_refused_unless_it_may_be_skipped() {
        let with = |tag: u16| [&hello(1)[..], &tag.to_le_bytes(), &[0, 0]].concat();
        assert_eq!(decode(&with(0x7FFF)), Err(Malformation::UnknownField { tag: 0x7FFF }));
        assert!(decode(&with(0xFFFF)).is_ok());
    }

    #[test]
    fn what_shows_arithmetics_is_in_ascending_order_and_of_each_once() {
        let with = |numbers: &[u16]| {
            let value: Vec<u8> =
                numbers.iter().flat_map(|number| [&number.to_le_bytes()[..], &[9; 32]].concat()).collect();
            [&hello(1)[..], &tag::CONFORMANCE.to_le_bytes(), &(value.len() as u16).to_le_bytes(), &value].concat()
        };
        let read = with(&[2, 7]);
        let Ok(Message::Hello(hello)) = decode(&read) else { panic!("it is a greeting") };
        assert_eq!(hello.features.conformance, [(2, Digest([9; 32])), (7, Digest([9; 32]))]);
        for numbers in [[2, 2], [7, 2]] {
            assert!(matches!(decode(&with(&numbers)), Err(Malformation::Refused(_))), "{numbers:?}");
        }
        assert!(decode(&with(&[])).is_err() && decode(&with(&Vec::from_iter(0..17))).is_err());
        let mut cut = with(&[2]);
        cut.pop();
        assert!(decode(&cut).is_err());
    }

    #[test]
    fn a_greeting_of_other_versions_is_read_as_far_as_no_version_changes_it() {
        let later = [&hello(2)[..], &[0xFF, 0x7F, 0, 0, 9, 9, 9]].concat();
        let Ok(Message::Hello(hello)) = decode(&later) else { panic!("the fixed part is readable") };
        assert_eq!((hello.version_min, hello.version_max), (2, 2));
    }

    #[test]
    fn a_peer_that_does_not_even_take_an_error_is_refused() {
        let mut small = hello(1);
        small[4..8].copy_from_slice(&1023u32.to_le_bytes());
        assert!(matches!(decode(&small), Err(Malformation::Refused(_))));
    }
}
