//! SHA-1 (FIPS 180-4), for `DEBUG DIGEST`, whose scheme is built on it.
//!
//! A fingerprint for comparing data sets, not a protection against attackers. The code is the plainest possible:
//! 64-byte blocks, and 80 rounds over a precomputed schedule; it allocates nothing.
//!
//! Costs: about 6 cycles per byte; anything up to 55 bytes costs as much as one block.

/// A digest.
pub type Digest = [u8; 20];

const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The digest of `bytes`.
pub fn sha1(bytes: &[u8]) -> Digest {
    Sha1::default().finish(bytes)
}

/// A digest that is computed piece by piece.
#[derive(Clone, Debug)]
pub struct Sha1 {
    state: [u32; 5],
    blocks: u64,
}

impl Default for Sha1 {
    fn default() -> Sha1 {
        Sha1 { state: START, blocks: 0 }
    }
}

impl Sha1 {
    /// Bytes of a block.
    pub const BLOCK: usize = 64;

    /// Adds the whole blocks of `bytes`. Returns the remaining bytes.
    pub fn take_blocks<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (blocks, rest) = bytes.as_chunks::<{ Sha1::BLOCK }>();
        for block in blocks {
            compress(&mut self.state, block);
        }
        self.blocks += blocks.len() as u64;
        rest
    }

    /// Returns the digest of all blocks added so far, followed by `bytes`.
    pub fn finish(mut self, bytes: &[u8]) -> Digest {
        let rest = self.take_blocks(bytes);
        let bits = (self.blocks * Sha1::BLOCK as u64 + rest.len() as u64) * 8;
        // The padding: a bit, zeroes, and the length in bits, in another block if the rest leaves no room for it.
        let mut last = [[0; Sha1::BLOCK]; 2];
        let needed = if rest.len() < 56 { 1 } else { 2 };
        let flat = last.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        flat[rest.len()] = 0x80;
        flat[needed * 64 - 8..needed * 64].copy_from_slice(&bits.to_be_bytes());
        for block in &last[..needed] {
            compress(&mut self.state, block);
        }
        let mut digest = [0; 20];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut schedule = [0_u32; 80];
    for (word, bytes) in schedule.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for t in 16..80 {
        let word = schedule[t - 3] ^ schedule[t - 8] ^ schedule[t - 14] ^ schedule[t - 16];
        schedule[t] = word.rotate_left(1);
    }
    let mut words = *state;
    let (rounds, _) = schedule.as_chunks::<20>();
    twenty(&mut words, &rounds[0], |b, c, d| b & c | !b & d, 0x5a82_7999);
    twenty(&mut words, &rounds[1], |b, c, d| b ^ c ^ d, 0x6ed9_eba1);
    twenty(&mut words, &rounds[2], |b, c, d| b & c | d & (b | c), 0x8f1b_bcdc);
    twenty(&mut words, &rounds[3], |b, c, d| b ^ c ^ d, 0xca62_c1d6);
    for (word, add) in state.iter_mut().zip(words) {
        *word = word.wrapping_add(add);
    }
}

/// Twenty rounds that share a function and a constant.
#[expect(clippy::many_single_char_names, reason = "the standard's names")]
#[inline(always)]
fn twenty(words: &mut [u32; 5], schedule: &[u32; 20], mix: impl Fn(u32, u32, u32) -> u32, constant: u32) {
    let [mut a, mut b, mut c, mut d, mut e] = *words;
    for word in schedule {
        let rest = e.wrapping_add(mix(b, c, d)).wrapping_add(constant).wrapping_add(*word);
        (a, b, c, d, e) = (a.rotate_left(5).wrapping_add(rest), a, b.rotate_left(30), c, d);
    }
    *words = [a, b, c, d, e];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::hex;

    fn digest(bytes: &[u8]) -> String {
        hex(&sha1(bytes))
    }

    #[test]
    fn the_standards_examples_have_their_digests() {
        assert_eq!(digest(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(digest(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(
            digest(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
        );
        assert_eq!(digest(&vec![b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..1000).map(|n| (n % 251) as u8).collect();
        for (first, second) in [(0, 64), (64, 640), (192, 960), (960, 960)] {
            let mut digest = Sha1::default();
            assert!(digest.take_blocks(&bytes[..first]).is_empty());
            assert!(digest.take_blocks(&bytes[first..second]).is_empty());
            assert_eq!(digest.finish(&bytes[second..]), sha1(&bytes), "{first} {second}");
        }
    }

    #[test]
    fn the_padding_is_right_on_both_sides_of_a_blocks_end() {
        assert_eq!(digest(&[b'a'; 55]), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
        assert_eq!(digest(&[b'a'; 56]), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
        assert_eq!(digest(&[b'a'; 63]), "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
        assert_eq!(digest(&[b'a'; 64]), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    }
}
