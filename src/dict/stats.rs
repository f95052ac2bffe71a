//! What a dict looks like inside, for `DEBUG HTSTATS` and for tests. Looks at every bucket.

use std::fmt;

use super::table::Table;
use super::{Dict, Item, order};

/// The lengths that [`TableStats::chains`] tells apart; longer chains count as the last.
pub const CHAIN_LENGTHS: usize = 16;

/// Figures of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Buckets of seven slots each.
    pub buckets: usize,
    /// The number of entries.
    pub used: usize,
    /// Buckets marked *ever full*: some insert had to go past them.
    pub ever_full: usize,
    /// `chains[i]`: from how many home buckets the lookup of an absent key looks at `i + 1` buckets.
    pub chains: [usize; CHAIN_LENGTHS],
    /// `displaced[i]`: how many entries lie `i` buckets from home according to their slots (the last: that many or more).
    pub displaced: [usize; CHAIN_LENGTHS],
}

/// Figures of a dict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DictStats {
    /// The main table.
    pub main: TableStats,
    /// While rehashing: the table that entries move to, and how many buckets of the main one are done.
    pub target: Option<(TableStats, usize)>,
}

impl fmt::Display for TableStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, " buckets: {} of 7 slots", self.buckets)?;
        writeln!(f, " number of elements: {}", self.used)?;
        writeln!(f, " ever full buckets: {}", self.ever_full)?;
        for (name, counts) in [("chain of", &self.chains), ("entries displaced by", &self.displaced)] {
            for (i, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                writeln!(f, " {name} {i} more buckets: {count}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for DictStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Main table:\n{}", self.main)?;
        if let Some((target, moved)) = &self.target {
            write!(f, "Rehashing target ({moved} buckets moved):\n{target}")?;
        }
        Ok(())
    }
}

impl<T: Item> Dict<T> {
    /// The dict's figures. O(buckets).
    pub fn stats(&self) -> DictStats {
        let target = self.rehashing.then(|| (table_stats(&self.tables[1]), self.rehash_at));
        DictStats { main: table_stats(&self.tables[0]), target }
    }
}

fn table_stats<T: Item>(table: &Table<T>) -> TableStats {
    let (buckets, used, ever_full) = (table.buckets(), table.used(), table.ever_full());
    let mut stats = TableStats { buckets, used, ever_full, ..TableStats::default() };
    for home in 0..buckets {
        let (mut at, mut length) = (home, 0);
        while length + 1 < CHAIN_LENGTHS && table.bucket(at).group().ever_full() {
            at = order::next(at, table.mask());
            length += 1;
        }
        stats.chains[length] += 1;
        let bucket = table.bucket(home);
        for slot in bucket.group().match_full() {
            stats.displaced[bucket.slot(slot).displacement()] += 1;
        }
    }
    stats
}
