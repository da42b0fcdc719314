//! DOCTOR asks how a coordinator and its nodes are; FINDING says it of one of them. Owns their layout; does not know what
//! is looked at, nor which facts there are.

use super::layout::Layout;
use crate::wire::bytes::{Read, Reader, Write as _};
use crate::wire::limits;

/// How are you, and your nodes?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doctor;

impl Layout<'_> for Doctor {
    fn decode(_: &mut Reader<'_>) -> Read<Self> {
        Ok(Doctor)
    }

    fn encode(&self, _: &mut Vec<u8>) {}
}

/// How one of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whom it is about: a node's address, or `coordinator`.
    pub subject: String,
    /// What is wrong, and what mends it; empty where nothing is.
    pub cure: String,
    /// What was seen, by its name.
    pub facts: Vec<Fact>,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is; its unit comes last.
    pub name: String,
    /// A number or a text; empty where it is not known.
    pub value: String,
}

impl Finding {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.cure.is_empty()
    }

    /// The same, shortened so that FINDING fits a payload of so many bytes: of the cure no more than half of them is left, then
    /// facts are left out from the last on.
    pub fn fitting(mut self, payload_bytes_max: u32) -> Finding {
        let allowed = (payload_bytes_max as usize).min(limits::PAYLOAD_BYTES_MAX as usize);
        let shorten = |text: &mut String, most: usize| text.truncate(text.floor_char_boundary(most));
        if self.bytes() > allowed {
            shorten(&mut self.cure, allowed / 2);
            shorten(&mut self.subject, allowed / 4);
        }
        while self.bytes() > allowed && self.facts.pop().is_some() {}
        self
    }

    /// Bytes of the payload.
    fn bytes(&self) -> usize {
        let facts: usize = self.facts.iter().map(|fact| 4 + fact.name.len() + fact.value.len()).sum();
        8 + self.subject.len() + self.cure.len() + facts
    }
}

impl Layout<'_> for Finding {
    fn decode(reader: &mut Reader<'_>) -> Read<Self> {
        let (subject, cure) = (reader.sentence()?, reader.sentence()?);
        // A fact has two lengths, and a byte of its name.
        let count = reader.count(limits::FACTS_MAX, 5)?;
        let mut facts = Vec::with_capacity(count);
        for _ in 0..count {
            facts.push(Fact { name: reader.name()?, value: reader.sentence()? });
        }
        Ok(Finding { subject, cure, facts })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.sentence(&self.subject);
        out.sentence(&self.cure);
        out.u32(self.facts.len() as u32);
        for Fact { name, value } in &self.facts {
            out.name(name);
            out.sentence(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_shortened_to_what_its_asker_takes_and_is_whole_where_it_fits() {
        let fact = |name: &str| Fact { name: name.to_owned(), value: "é".repeat(100) };
        let facts = vec![fact("state"), fact("version"), fact("disk")];
        let finding = Finding { subject: "10.0.0.1:5106".to_owned(), cure: "é".repeat(500), facts };
        for (takes, left) in [(1_024, 1), (1 << 20, 3)] {
            let mut bytes = Vec::new();
            let fitting = finding.clone().fitting(takes);
            fitting.encode(&mut bytes);
            assert_eq!(bytes.len(), fitting.bytes());
            assert!(bytes.len() <= takes as usize && fitting.facts.len() >= left, "to who takes {takes}");
            assert_eq!(Finding::decode(&mut Reader::new("FINDING", &bytes)), Ok(fitting.clone()));
            assert_eq!(fitting == finding, takes > 1_024);
            assert!(!fitting.is_well());
        }
    }

    #[test]
    fn more_facts_than_are_allowed_are_refused_before_any_is_read() {
        let mut bytes = vec![0; 8];
        bytes[4..].copy_from_slice(&(limits::FACTS_MAX as u32 + 1).to_le_bytes());
        let refused = Finding::decode(&mut Reader::new("FINDING", &bytes)).unwrap_err();
        assert!(refused.to_string().contains("17"), "{refused}");
    }
}
