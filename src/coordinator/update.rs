//! An update's bytes, in chunks whose memory is free again as soon as they are merged, and not only when all of it is. Owns
//! how an update comes together; does not know how many there may be (`transfers`), nor where they come from.

use std::iter::{once, repeat};
use std::sync::Arc;

use super::transfers::{CHUNK_BYTES, Reservation, Transfers};
use crate::digest::{Digest, Hasher};
use crate::engine::LinkKey;
use crate::model::{LittleEndianF32, LittleEndianWord, Network};
use crate::store::{Part, Workbench, WrongDigest};
use crate::wire::object::{self, ObjectError, ObjectKind, SumLayout};

/// Where the updates come together that come over one link.
pub(super) struct Updates {
    link: LinkKey,
    transfers: Transfers,
}

impl Updates {
    pub(super) fn new(link: LinkKey, transfers: Transfers) -> Updates {
        Updates { link, transfers }
    }
}

impl Workbench for Updates {
    type Part = Arriving;

    fn resume(&self, digest: &Digest) -> Arriving {
        Arriving::new(*digest, Arc::new(self.transfers.begin(self.link)))
    }

    /// An update that is cut off is trained again: nothing is kept of it.
    fn suspend(&self, _: Arriving) {}
}

/// An update on its way.
pub(super) struct Arriving {
    digest: Digest,
    hasher: Hasher,
    chunks: Vec<Chunk>,
    held_bytes: u64,
    room: Arc<Reservation>,
}

impl Arriving {
    fn new(digest: Digest, room: Arc<Reservation>) -> Arriving {
        Arriving { digest, hasher: Hasher::default(), chunks: Vec::new(), held_bytes: 0, room }
    }
}

impl Part for Arriving {
    type Whole = UpdateBytes;

    fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    fn makes_room(&mut self, bytes: u64, object_bytes: u64) -> bool {
        self.room.take(bytes, object_bytes, self.held_bytes)
    }

    fn append(&mut self, mut bytes: &[u8], object_bytes: u64) {
        while !bytes.is_empty() {
            if self.chunks.last().is_none_or(|chunk| chunk.left_bytes() == 0) {
                let left = object_bytes.saturating_sub(self.held_bytes).max(bytes.len() as u64);
                self.chunks.push(Chunk { bytes: self.room.chunk(left), room: Some(self.room.clone()) });
            }
            let Some(chunk) = self.chunks.last_mut() else { return };
            let (now, later) = bytes.split_at(chunk.left_bytes().min(bytes.len()));
            self.hasher.update_and_copy(now, &mut chunk.bytes);
            self.held_bytes += now.len() as u64;
            bytes = later;
        }
    }

    fn begin_again(&self) -> Arriving {
        Arriving::new(self.digest, self.room.clone())
    }

    fn finish(self) -> Result<UpdateBytes, WrongDigest> {
        let got = self.hasher.finish();
        if got != self.digest {
            return Err(WrongDigest { wanted: self.digest, got });
        }
        self.room.is_whole();
        Ok(UpdateBytes { chunks: self.chunks })
    }
}

/// The object that is an update, whole.
pub(super) struct UpdateBytes {
    chunks: Vec<Chunk>,
}

/// Some of its bytes: [`CHUNK_BYTES`], but for the last of them. Their memory is given back when it is dropped.
struct Chunk {
    bytes: Vec<u8>,
    room: Option<Arc<Reservation>>,
}

impl Chunk {
    /// Bytes that fit in besides those that are there.
    fn left_bytes(&self) -> usize {
        CHUNK_BYTES.min(self.bytes.capacity()) - self.bytes.len()
    }

    fn words(&self, start: usize) -> &[LittleEndianWord] {
        self.bytes.get(start..).unwrap_or_default().as_chunks().0
    }

    fn values(&self, start: usize) -> &[LittleEndianF32] {
        self.bytes.get(start..).unwrap_or_default().as_chunks().0
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

// Every value, and every word of a sum, lies in one chunk: what stands before them is a multiple of eight bytes.
const _: () = assert!(CHUNK_BYTES.is_multiple_of(size_of::<LittleEndianWord>()));

/// Values of an update, one chunk's.
pub(super) struct Values {
    chunk: Chunk,
    start: usize,
}

impl AsRef<[LittleEndianF32]> for Values {
    fn as_ref(&self) -> &[LittleEndianF32] {
        self.chunk.values(self.start)
    }
}

/// Words of a sum, one chunk's.
pub(super) struct Words {
    chunk: Chunk,
    start: usize,
}

impl AsRef<[LittleEndianWord]> for Words {
    fn as_ref(&self) -> &[LittleEndianWord] {
        self.chunk.words(self.start)
    }
}

impl UpdateBytes {
    /// An update that came inside a message.
    pub(super) fn inline(bytes: Vec<u8>) -> UpdateBytes {
        UpdateBytes { chunks: vec![Chunk { bytes, room: None }] }
    }

    /// Whether it is an update of this network.
    pub(super) fn check(&self, network: &Network) -> Result<(), ObjectError> {
        let head = self.chunks.first().map_or(&[][..], |chunk| &chunk.bytes);
        object::check_parameters(ObjectKind::Update, network, head, self.bytes())
    }

    /// Where the integers are, if it is a sum of gradients of this network.
    pub(super) fn sum_layout(&self, network: &Network) -> Result<SumLayout, ObjectError> {
        let head = self.chunks.first().map_or(&[][..], |chunk| &chunk.bytes);
        object::check_sum(network, head, self.bytes())
    }

    /// The words of a sum that has this layout, chunk by chunk.
    pub(super) fn into_words(self, layout: &SumLayout) -> Vec<Words> {
        let starts = once(layout.start).chain(repeat(0));
        self.chunks.into_iter().zip(starts).map(|(chunk, start)| Words { chunk, start }).collect()
    }

    /// The same, as they lie there.
    pub(super) fn words(&self, layout: &SumLayout) -> Vec<&[LittleEndianWord]> {
        let starts = once(layout.start).chain(repeat(0));
        self.chunks.iter().zip(starts).map(|(chunk, start)| chunk.words(start)).collect()
    }

    /// The values of an update of this network, chunk by chunk.
    pub(super) fn into_values(self, network: &Network) -> Vec<Values> {
        let starts = self.starts(network);
        self.chunks.into_iter().zip(starts).map(|(chunk, start)| Values { chunk, start }).collect()
    }

    /// The same, as they lie there.
    pub(super) fn values(&self, network: &Network) -> Vec<&[LittleEndianF32]> {
        self.chunks.iter().zip(self.starts(network)).map(|(chunk, start)| chunk.values(start)).collect()
    }

    fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()
    }

    /// Where in each chunk its values begin.
    fn starts(&self, network: &Network) -> impl Iterator<Item = usize> + use<> {
        let first = self.bytes().saturating_sub(4 * network.parameters() as u64) as usize;
        once(first).chain(repeat(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an update with values in three chunks.
    fn network() -> Network {
        Network::new(300, &[500], 2).unwrap()
    }

    fn object(kind: ObjectKind) -> (Vec<f32>, Vec<u8>) {
        let values: Vec<f32> = (0..network().parameters()).map(|index| index as f32 * 0.5).collect();
        let bytes = object::encode_parameters(kind, &network(), &values);
        (values, bytes)
    }

    /// The object as it comes together of pieces of so many bytes.
    fn fetched(bytes: &[u8], digest: Digest, piece: usize) -> Result<UpdateBytes, WrongDigest> {
        let updates = Updates::new(LinkKey(1), Transfers::new(1, || {}));
        let mut arriving = updates.resume(&digest);
        let all = bytes.len() as u64;
        for piece in bytes.chunks(piece) {
            assert!(arriving.makes_room(arriving.held_bytes() + piece.len() as u64, all));
            arriving.append(piece, all);
        }
        arriving.finish()
    }

    #[test]
    fn an_update_has_its_values_whatever_the_pieces_that_it_came_in() {
        let (values, bytes) = object(ObjectKind::Update);
        for piece in [1_001, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES] {
            let update = fetched(&bytes, Digest::of(&bytes), piece).unwrap();
            update.check(&network()).unwrap();
            assert_eq!(update.chunks.len(), 3);
            let as_they_lie: Vec<LittleEndianF32> = update.values(&network()).concat();
            let taken: Vec<LittleEndianF32> =
                update.into_values(&network()).iter().flat_map(|part| part.as_ref().to_vec()).collect();
            assert!(taken.iter().copied().map(f32::from_le_bytes).eq(values.iter().copied()));
            assert!(as_they_lie == taken);
        }
    }

    #[test]
    fn what_is_no_update_of_the_network_is_found_out() {
        let (_, bytes) = object(ObjectKind::Weights);
        let weights = fetched(&bytes, Digest::of(&bytes), CHUNK_BYTES).unwrap();
        assert!(matches!(weights.check(&network()), Err(ObjectError::Kind { .. })));
        let (_, mut bytes) = object(ObjectKind::Update);
        assert!(fetched(&bytes, Digest([1; 32]), CHUNK_BYTES).is_err());
        let other = Network::new(300, &[501], 2).unwrap();
        let whole = fetched(&bytes, Digest::of(&bytes), CHUNK_BYTES).unwrap();
        assert!(matches!(whole.check(&other), Err(ObjectError::Shape { .. })));
        bytes.truncate(bytes.len() - 4);
        let short = fetched(&bytes, Digest::of(&bytes), CHUNK_BYTES).unwrap();
        assert!(matches!(short.check(&network()), Err(ObjectError::Size { .. })));
        assert!(UpdateBytes::inline(Vec::new()).check(&network()).is_err());
    }

    #[test]
    fn what_has_another_digest_than_it_was_announced_with_gives_its_room_back() {
        let transfers = Transfers::new(1, || {});
        let (_, bytes) = object(ObjectKind::Update);
        let all = bytes.len() as u64;
        for link in 1..5 {
            let mut arriving = Updates::new(LinkKey(link), transfers.clone()).resume(&Digest([1; 32]));
            assert!(arriving.makes_room(all, all), "{link}");
            arriving.append(&bytes, all);
            assert!(arriving.finish().is_err());
        }
        // And so does one whose link ends before anything has come of it.
        let updates = Updates::new(LinkKey(5), transfers.clone());
        let mut arriving = updates.resume(&Digest([1; 32]));
        assert!(arriving.makes_room(all, all));
        updates.suspend(arriving);
        assert!(updates.resume(&Digest([1; 32])).makes_room(all, all));
    }

    #[test]
    fn a_chunk_that_is_merged_makes_room_at_once_and_what_is_cut_off_does_too() {
        let transfers = Transfers::new(1, || {});
        let (_, bytes) = object(ObjectKind::Update);
        let all = bytes.len() as u64;
        let arrive = |link, count: usize| {
            let mut arriving = Updates::new(LinkKey(link), transfers.clone()).resume(&Digest::of(&bytes));
            let has_room = arriving.makes_room(count as u64, all);
            arriving.append(&bytes[..count], all);
            (has_room, arriving)
        };
        let (first_has_room, first) = arrive(1, bytes.len());
        let mut values = first.finish().unwrap().into_values(&network());
        let (second_has_room, second) = arrive(2, CHUNK_BYTES);
        assert!(first_has_room && !second_has_room);
        values.remove(0);
        let (third_has_room, _third) = arrive(3, CHUNK_BYTES);
        assert!(third_has_room);
        drop((values, second));
        assert!(arrive(4, CHUNK_BYTES / 4).0);
    }
}
