//! Loops over samples, compiled a second time for the vector instructions that most machines have.
//!
//! The program is built for the oldest machine of its architecture; on x86-64 that leaves loops a fourth of the width
//! that nearly every machine offers.

/// A computation whose loops the compiler can widen; its `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// Computes it.
    fn run(self) -> Self::Output;
}

/// Runs a computation with AVX2 where the machine has it; integers come out the same either way.
pub(crate) fn widest<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run()
        }

        if is_x86_feature_detected!("avx2") {
            #[expect(
                unsafe_code,
                reason = "the machine was just asked whether it has what the function is compiled for"
            )]
            return unsafe { with_avx2(kernel) };
        }
    }
    kernel.run()
}
