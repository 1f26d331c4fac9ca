//! Denormal numbers as zero, on the calling thread.

use std::marker::PhantomData;

/// Guard with which the calling thread computes with zeros instead of denormal numbers, until it is dropped.
///
/// Networks compute with denormal numbers when their states decay in silence, which takes many times longer. ONNX Runtime
/// sets this mode only on its own threads and on the one that creates its first session. Nothing changes on processors
/// other than x86 and AArch64.
pub struct FlushDenormals {
    saved: usize,
    /// The mode belongs to the thread, so the guard must not be sent to another.
    _not_send: PhantomData<*const ()>,
}

impl FlushDenormals {
    /// Sets the mode. Real-time safe.
    pub fn set() -> Self {
        let saved = control::read();
        control::write(saved | control::FLUSH);
        Self { saved, _not_send: PhantomData }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        control::write(self.saved);
    }
}

/// The register MXCSR.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod control {
    use std::arch::asm;

    /// Bits FTZ, for results, and DAZ, for operands.
    pub const FLUSH: usize = 1 << 15 | 1 << 6;

    pub fn read() -> usize {
        let mut value = 0_u32;
        // SAFETY: the instruction only writes `value`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut value, options(nostack, preserves_flags)) };
        value as usize
    }

    pub fn write(value: usize) {
        let value = value as u32;
        // SAFETY: `value` is a value of the register, of which only the two bits change. No code of the thread depends on
        // denormal numbers.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &value, options(nostack, preserves_flags)) };
    }
}

/// The register FPCR.
#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// Bit FZ, for results and operands.
    pub const FLUSH: usize = 1 << 24;

    pub fn read() -> usize {
        let value: u64;
        // SAFETY: the instruction only reads the register.
        unsafe { asm!("mrs {}, fpcr", out(reg) value, options(nomem, nostack, preserves_flags)) };
        value as usize
    }

    pub fn write(value: usize) {
        // SAFETY: `value` is a value of the register, of which only the bit changes. No code of the thread depends on
        // denormal numbers.
        unsafe { asm!("msr fpcr, {}", in(reg) value as u64, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub const FLUSH: usize = 0;

    pub fn read() -> usize {
        0
    }

    pub fn write(_: usize) {}
}

#[cfg(all(test, any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// Whether a product and an operand that are denormal count as zero.
    fn are_flushed() -> (bool, bool) {
        let product = black_box(f32::MIN_POSITIVE) * black_box(0.5);
        let operand = black_box(f32::from_bits(1)) * black_box(1e30);
        (product.to_bits() == 0, operand.to_bits() == 0)
    }

    #[test]
    fn denormals_are_zero_while_the_guard_lives() {
        assert_eq!(are_flushed(), (false, false));
        let outer = FlushDenormals::set();
        drop(FlushDenormals::set());
        assert_eq!(are_flushed(), (true, true), "the inner guard restores the mode of the outer one");
        drop(outer);
        assert_eq!(are_flushed(), (false, false));
    }
}
