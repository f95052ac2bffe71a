//! A wish to the processor: this cache line will be read soon.
//!
//! The one idea: a lookup in a large table waits for memory twice, for the bucket and for the entry. A wish does not
//! wait, so a batch of lookups that wishes for all its lines first waits about once for all of them.
//!
//! Costs: one instruction. A wish for any address is allowed; one for an unmapped page is dropped.

/// Asks for the cache line at `address` in all levels of the cache.
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
