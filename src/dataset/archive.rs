//! Archives of arrays, .npz, which are ZIP files. Owns that format; does not know what an array is for, or how it is written.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::array::Array;
use super::delimited::unreadable;
use super::error::Fault;

/// The most members of an archive.
const MEMBERS_MAX: usize = 64;

fn wrong<T>(cause: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Array { cause: cause.into() })
}

/// The arrays of an archive.
#[derive(Debug)]
pub(super) struct Archive {
    /// All that it holds, without `.npy`.
    pub(super) names: Vec<String>,
    arrays: Vec<(String, Array)>,
}

impl Archive {
    /// Takes out the first array that has one of these names, with its name.
    pub(super) fn take(&mut self, names: &[&str]) -> Option<(String, Array)> {
        let place = self.arrays.iter().position(|(name, _)| names.contains(&&**name))?;
        Some(self.arrays.swap_remove(place))
    }
}

/// An archive, whose members are read that have a use by their names: what else it holds may be of any type.
pub(super) fn npz(input: &mut dyn Read, is_of_use: &dyn Fn(&str) -> bool) -> Result<Archive, Fault> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(unreadable)?;
    let damaged = || Fault::Array { cause: "the archive is damaged; save it again with numpy.savez".to_owned() };
    let at =
        |place: usize, count: usize| place.checked_add(count).and_then(|end| bytes.get(place..end)).ok_or_else(damaged);
    let number = |place: usize, count: usize| {
        let mut little = [0; 8];
        little[..count].copy_from_slice(at(place, count)?);
        Ok::<u64, Fault>(u64::from_le_bytes(little))
    };
    // The end of the directory, behind which a comment of up to 64 KiB may stand.
    let tail = bytes.len().saturating_sub(22 + 0xFFFF);
    let end = bytes[tail..].windows(4).rposition(|window| window == b"PK\x05\x06").ok_or_else(damaged)? + tail;
    let (mut count, mut place) = (number(end + 10, 2)?, number(end + 16, 4)?);
    if let (Ok(b"PK\x06\x07"), Some(locator)) =
        (end.checked_sub(20).map_or(Err(damaged()), |place| at(place, 4)), end.checked_sub(20))
    {
        let end = usize::try_from(number(locator + 8, 8)?).map_err(|_| damaged())?;
        // All of it is there, so that no sum below overflows.
        at(end, 56)?;
        (count, place) = (number(end + 32, 8)?, number(end + 48, 8)?);
    }
    if count > MEMBERS_MAX as u64 {
        return wrong(format!("the archive has {count} members, and at most {MEMBERS_MAX} are read"));
    }
    let mut place = usize::try_from(place).map_err(|_| damaged())?;
    let (mut names, mut arrays) = (Vec::new(), Vec::new());
    for _ in 0..count {
        if at(place, 4)? != b"PK\x01\x02" {
            return Err(damaged());
        }
        let method = number(place + 10, 2)?;
        let [name_bytes, extra_bytes, comment_bytes] =
            [number(place + 28, 2)? as usize, number(place + 30, 2)? as usize, number(place + 32, 2)? as usize];
        let (mut packed, mut local) = (number(place + 20, 4)?, number(place + 42, 4)?);
        let full = number(place + 24, 4)?;
        let name = String::from_utf8_lossy(at(place + 46, name_bytes)?).into_owned();
        // Sizes that do not fit 32 bits stand in an extra field, in the order of the header.
        let mut extra = place + 46 + name_bytes;
        let extra_end = extra + extra_bytes;
        while extra + 4 <= extra_end {
            let (tag, size) = (number(extra, 2)?, number(extra + 2, 2)? as usize);
            if tag == 1 {
                let mut next = extra + 4;
                let mut wide = |value: u64| {
                    if value != 0xFFFF_FFFF {
                        return Ok(value);
                    }
                    next += 8;
                    number(next - 8, 8)
                };
                wide(full)?;
                packed = wide(packed)?;
                local = wide(local)?;
            }
            extra += 4 + size;
        }
        place = extra_end + comment_bytes;
        let Some(name) = name.strip_suffix(".npy") else { continue };
        names.push(name.to_owned());
        if !is_of_use(name) {
            continue;
        }
        let local = usize::try_from(local).map_err(|_| damaged())?;
        at(local, 30)?;
        let start = local + 30 + number(local + 26, 2)? as usize + number(local + 28, 2)? as usize;
        let mut member = at(start, usize::try_from(packed).map_err(|_| damaged())?)?;
        let array = match method {
            0 => Array::from_npy(&mut member),
            8 => Array::from_npy(&mut DeflateDecoder::new(member)),
            _ => return wrong("the archive is compressed in an unusual way; save it with numpy.savez"),
        };
        let array = array.map_err(|fault| match fault {
            Fault::Array { cause } => Fault::Array { cause: format!("{name} of the archive: {cause}") },
            other => other,
        })?;
        arrays.push((name.to_owned(), array));
    }
    Ok(Archive { names, arrays })
}
