//! How many connections each address has, so that one cannot take all places.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

type Open = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Open connections by address; bounded by how many connections there are in all.
#[derive(Debug)]
pub(super) struct Peers {
    most: usize,
    open: Open,
}

impl Peers {
    /// At most so many for each address.
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Open::default() }
    }

    /// One more connection; `None` when that is too many.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Entered> {
        let peer = peer.to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Entered { peer, open: Arc::clone(&self.open) })
    }
}

/// A connection that counts while this lives.
#[derive(Debug)]
pub(super) struct Entered {
    peer: IpAddr,
    open: Open,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_share_and_gets_it_back() {
        let peers = Peers::new(2);
        let [one, mapped, other] = ["10.0.0.1", "::ffff:10.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
        let first = peers.enter(one).unwrap();
        let _second = peers.enter(mapped).unwrap();
        assert!(peers.enter(one).is_none());
        assert!(peers.enter(other).is_some());
        drop(first);
        assert!(peers.enter(mapped).is_some());
        assert_eq!(peers.open.lock().unwrap().len(), 1, "what is gone is forgotten");
    }
}
