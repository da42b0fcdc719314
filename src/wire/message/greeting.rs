//! HELLO and WELCOME: a fixed part that no version may change, then tagged fields.

use super::Layout;
use crate::wire::bytes::{Malformation, Read, Reader, Write as _};
use crate::wire::session::Role;

/// Arithmetics listed in a greeting, at most.
const ARITHMETICS_MAX: usize = 64;
/// Fields whose tag has this bit may be skipped by who does not know them.
const SKIPPABLE: u16 = 0x8000;

mod tag {
    pub const CLUSTER: u16 = 0x0001;
    pub const ARITHMETICS: u16 = 0x0002;
    pub const WORKERS: u16 = 0x8001;
    pub const NAME: u16 = 0x8002;
    pub const SOFTWARE: u16 = 0x8003;
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
        Ok(Hello {
            version_min,
            version_max,
            role,
            payload_bytes_max: reader.u32()?,
            id: reader.bytes16()?,
            nonce: reader.bytes32()?,
            features: Features::decode(reader)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.version_min, self.version_max, self.role as u8, 0]);
        out.u32(self.payload_bytes_max);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.nonce);
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
            payload_bytes_max: reader.u32()?,
            id: reader.bytes16()?,
            nonce: reader.bytes32()?,
            features: Features::decode(reader)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.version, 0, self.role as u8, 0]);
        out.u32(self.payload_bytes_max);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.nonce);
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
                    if count == 0 || count > ARITHMETICS_MAX {
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
            out.extend_from_slice(bytes);
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
    }
}
