//! Statistics of a dict's internals, for `DEBUG HTSTATS` and for tests. Reads every bucket.

use std::fmt::{self, Write};

use super::table::Table;
use super::{Dict, Item, order};

/// The chain lengths that [`TableStats::chains`] distinguishes; longer chains count as the last.
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
    /// `chains[i]`: the number of home buckets from which the lookup of an absent key reads `i + 1` buckets.
    pub chains: [usize; CHAIN_LENGTHS],
    /// `at_home[i]`: the number of buckets that are the home bucket of `i` entries, wherever these are stored.
    pub at_home: Vec<usize>,
    /// `displaced[i]`: the number of entries that lie `i` buckets from home according to their slots (the last: that
    /// many or more).
    pub displaced: [usize; CHAIN_LENGTHS],
}

/// Figures of a dict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DictStats {
    /// The main table.
    pub main: TableStats,
    /// While rehashing: the table to which entries move, and the number of buckets of the main one that have been
    /// moved.
    pub target: Option<(TableStats, usize)>,
}

impl TableStats {
    /// Writes Redis' lines for a table, with home buckets in place of slots. `full` adds the distribution of entries
    /// over home buckets, and their distances from them.
    fn describe(&self, full: bool, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = self.write(full, out);
    }

    fn write(&self, full: bool, out: &mut String) -> fmt::Result {
        if self.used == 0 {
            return writeln!(out, "No stats available for empty dictionaries");
        }
        writeln!(out, " table size: {}", self.buckets)?;
        writeln!(out, " number of elements: {}", self.used)?;
        if !full {
            return Ok(());
        }
        let homes = self.buckets - self.at_home[0];
        let average = self.used as f64 / homes.max(1) as f64;
        writeln!(out, " different slots: {homes}")?;
        writeln!(out, " max chain length: {}", self.at_home.len() - 1)?;
        writeln!(out, " avg chain length (counted): {average:.2}")?;
        writeln!(out, " avg chain length (computed): {average:.2}")?;
        writeln!(out, " Chain length distribution:")?;
        for (length, count) in self.at_home.iter().enumerate().filter(|(_, count)| **count > 0) {
            let percent = *count as f64 / self.buckets as f64 * 100.0;
            writeln!(out, "   {length}: {count} ({percent:.2}%)")?;
        }
        writeln!(out, " ever full buckets: {}", self.ever_full)?;
        for (i, count) in self.displaced.iter().enumerate().filter(|(_, count)| **count > 0) {
            writeln!(out, " entries displaced by {i} buckets: {count}")?;
        }
        Ok(())
    }
}

impl TableStats {
    /// Adds the figures of another table.
    fn add(&mut self, other: &TableStats) {
        self.buckets += other.buckets;
        self.used += other.used;
        self.ever_full += other.ever_full;
        if self.at_home.len() < other.at_home.len() {
            self.at_home.resize(other.at_home.len(), 0);
        }
        for (sums, counts) in [
            (&mut self.chains[..], &other.chains[..]),
            (&mut self.displaced[..], &other.displaced[..]),
            (&mut self.at_home[..], &other.at_home[..]),
        ] {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}

impl DictStats {
    /// Adds the figures of another dict.
    pub(super) fn add(&mut self, other: &DictStats) {
        self.main.add(&other.main);
        if let Some((table, moved)) = &other.target {
            let (sum, moves) = self.target.get_or_insert_default();
            sum.add(table);
            *moves += moved;
        }
    }

    /// The text of `DEBUG HTSTATS`.
    pub fn describe(&self, full: bool) -> String {
        let mut text = String::from("Hash table 0 stats (main hash table):\n");
        self.main.describe(full, &mut text);
        if let Some((target, _)) = &self.target {
            text.push_str("Hash table 1 stats (rehashing target):\n");
            target.describe(full, &mut text);
        }
        text
    }
}

impl<T: Item> Dict<T> {
    /// The dict's figures. O(buckets).
    pub fn stats(&self) -> DictStats {
        let target = self.target().map(|table| (table_stats(table), self.rehash_at()));
        DictStats { main: table_stats(&self.main), target }
    }
}

fn table_stats<T: Item>(table: &Table<T>) -> TableStats {
    let (buckets, used, ever_full) = (table.buckets(), table.used(), table.ever_full());
    let mut stats = TableStats { buckets, used, ever_full, ..TableStats::default() };
    for home in 0..buckets {
        let (mut at, mut length, mut entries) = (home, 0, 0);
        loop {
            let bucket = table.bucket(at);
            let displaced =
                bucket.group().match_full().filter(|slot| bucket.slot(*slot).displacement() == length);
            entries += displaced.count();
            if length + 1 == CHAIN_LENGTHS || !bucket.group().ever_full() {
                break;
            }
            at = order::next(at, table.mask());
            length += 1;
        }
        stats.chains[length] += 1;
        if stats.at_home.len() <= entries {
            stats.at_home.resize(entries + 1, 0);
        }
        stats.at_home[entries] += 1;
        let bucket = table.bucket(home);
        for slot in bucket.group().match_full() {
            stats.displaced[bucket.slot(slot).displacement()] += 1;
        }
    }
    stats
}
