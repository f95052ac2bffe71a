//! Prefetching: tells the processor that a cache line will be read soon.
//!
//! A lookup in a large table waits for memory twice, for the bucket and for the entry. A prefetch does not wait, so a
//! batch of lookups that prefetches all its lines first waits about once for all of them.
//!
//! Costs: one instruction. Any address is allowed; a prefetch of an unmapped page is dropped.

/// Prefetches the cache line at `address` into all levels of the cache.
#[inline(always)]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above: `prfm` cannot fault and changes nothing that the program can see.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
