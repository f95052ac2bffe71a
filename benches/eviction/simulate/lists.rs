//! Doubly linked lists over the keys `0..n`: a key is in at most one of them.
//!
//! Two arrays hold the links; each list has an anchor after the keys, so that a list is a ring and neither end is a
//! special case. Every operation takes constant time.

/// Some lists over one set of keys.
#[derive(Debug)]
pub struct Lists {
    keys: u32,
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl Lists {
    /// `lists` empty lists over `0..keys`.
    pub fn new(keys: u32, lists: u32) -> Self {
        let links: Vec<u32> = (0..keys + lists).collect();
        Self { keys, next: links.clone(), previous: links }
    }

    /// Whether `key` is in a list: a key outside of all lists is linked to itself.
    #[inline]
    pub fn contains(&self, key: u32) -> bool {
        self.next[key as usize] != key
    }

    /// Puts `key`, which is in no list, at the front of `list`.
    pub fn push_front(&mut self, list: u32, key: u32) {
        let anchor = self.keys + list;
        let first = self.next[anchor as usize];
        self.link(anchor, key);
        self.link(key, first);
    }

    /// Removes `key` from its list.
    pub fn remove(&mut self, key: u32) {
        self.link(self.previous[key as usize], self.next[key as usize]);
        self.link(key, key);
    }

    /// The last key of `list`.
    pub fn last(&self, list: u32) -> Option<u32> {
        Some(self.previous[(self.keys + list) as usize]).filter(|&key| key < self.keys)
    }

    fn link(&mut self, a: u32, b: u32) {
        self.next[a as usize] = b;
        self.previous[b as usize] = a;
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn lists_share_keys_but_not_their_order() {
        let mut lists = Lists::new(4, 2);
        assert_eq!((lists.last(0), lists.last(1)), (None, None));
        lists.push_front(0, 2);
        lists.push_front(0, 3);
        lists.push_front(1, 0);
        assert_eq!((lists.last(0), lists.last(1)), (Some(2), Some(0)));
        lists.remove(2);
        assert!(!lists.contains(2) && lists.contains(3));
        assert_eq!(lists.last(0), Some(3));
        lists.push_front(1, 2);
        assert_eq!(lists.last(1), Some(0));
        lists.remove(0);
        assert_eq!(lists.last(1), Some(2));
    }
}
