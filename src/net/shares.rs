//! Who gives way when there is no room for all of something: shares by address, and of one address by client. They bind only
//! then: as long as there is room, whoever comes first has as much as he likes, however many sit behind one address. Pure;
//! does not know what is shared.

use std::cmp::Reverse;
use std::net::IpAddr;

/// What somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<C> {
    /// Where he is.
    pub address: IpAddr,
    /// Who he is there.
    pub client: C,
    /// How much it is.
    pub amount: u64,
}

/// The client that gives way to a newcomer who is to hold `new`: of the address that would hold most the client that would; of
/// equals the one that comes first in `held`. None if that is the newcomer: where he holds as much as anybody, nobody else does.
/// One client may hold many things.
pub fn gives_way<C: Ord + Copy>(held: impl Iterator<Item = Held<C>>, new: Held<C>) -> Option<(IpAddr, C)> {
    let mut all: Vec<(Held<C>, usize)> = held.chain([new]).zip(0..).collect();
    all.sort_unstable_by_key(|(held, place)| (held.address, held.client, *place));
    let sum = |held: &[(Held<C>, usize)]| held.iter().fold(0u64, |sum, (held, _)| sum.saturating_add(held.amount));
    let first = |held: &[(Held<C>, usize)]| Reverse(held.iter().map(|(_, place)| *place).min());
    let of_address = all.chunk_by(|(a, _), (b, _)| a.address == b.address);
    let busiest = of_address.max_by_key(|held| (sum(held), held[0].0.address == new.address, first(held)))?;
    let is_new = |held: &Held<C>| (held.address, held.client) == (new.address, new.client);
    let of_client = busiest.chunk_by(|(a, _), (b, _)| a.client == b.client);
    let (client, _) = of_client.max_by_key(|held| (sum(held), is_new(&held[0].0), first(held)))?[0];
    (!is_new(&client)).then_some((client.address, client.client))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(address: u8, client: u32, amount: u64) -> Held<u32> {
        Held { address: IpAddr::from([10, 0, 0, address]), client, amount }
    }

    /// The last part of the address, and the client, that give way.
    fn who(all: &[Held<u32>], new: Held<u32>) -> Option<(IpAddr, u32)> {
        gives_way(all.iter().copied(), new)
    }

    #[test]
    fn the_busiest_client_of_the_busiest_address_gives_way_to_whoever_holds_less() {
        let all = [held(1, 1, 5), held(1, 2, 3), held(1, 2, 3), held(2, 3, 9), held(3, 4, 1)];
        let is = |address, client| Some((held(address, 0, 0).address, client));
        assert_eq!(who(&all, held(4, 5, 1)), is(1, 2));
        assert_eq!(who(&all, held(1, 7, 1)), is(1, 2), "of his own address, too");
        assert_eq!(who(&all, held(2, 7, 1)), is(1, 2));
        assert_eq!(who(&all, held(2, 7, 9)), None, "he would be the busiest there");
        assert_eq!(who(&all, held(2, 7, 5)), is(2, 3));
        // Of equals the first.
        assert_eq!(who(&[held(1, 9, 1), held(1, 8, 1), held(2, 7, 2)], held(3, 1, 1)), is(1, 9));
    }

    #[test]
    fn who_holds_as_much_as_anybody_makes_nobody_give_way() {
        assert_eq!(who(&[], held(1, 1, 1)), None);
        assert_eq!(who(&[held(1, 1, 1), held(2, 2, 1)], held(3, 3, 1)), None);
        assert_eq!(who(&[held(1, 1, 2), held(2, 2, 1)], held(1, 1, 1)), None);
        // Many clients behind one address: one with no more than one each.
        assert_eq!(who(&[held(1, 1, 1), held(1, 2, 1)], held(1, 3, 1)), None);
        assert_eq!(
            who(&[held(1, 1, u64::MAX), held(1, 1, u64::MAX)], held(2, 2, 1)).map(|(_, client)| client),
            Some(1)
        );
    }
}
