use super::*;
use crate::model::vector::Fault;

/// What the constants must be, to be pasted there and into docs/arithmetic.md, section 15.
fn here(kernel: Kernel) -> String {
    Section::ALL.iter().map(|section| format!("{:?}: {}\n", section, section.digest_here(kernel))).collect()
}

#[test]
fn every_kernel_of_this_machine_proves_itself() {
    for kernel in Kernel::available() {
        for section in Section::ALL {
            let differs = section.digest_here(kernel) != section.published();
            assert!(!differs, "{kernel}: {section:?} differs; all digests here:\n{}", here(kernel));
        }
        assert_eq!(prove(kernel), Ok(published()));
        assert_eq!(prove_thread(kernel), Ok(()));
    }
}

#[test]
fn a_broken_operation_is_found_and_named() {
    for (fault, section) in [
        (Fault::Contracted, Section::Separate),
        (Fault::NoNegativeZero, Section::Zeros),
        (Fault::OtherExp, Section::Exp),
        (Fault::TwiceRounded, Section::Fused),
    ] {
        let kernel = Kernel::faulty(fault);
        assert_eq!(prove(kernel), Err(Difference { section, kernel }), "{fault:?}");
        let text = Difference { section, kernel }.to_string();
        assert!(text.starts_with("this machine does not compute arithmetic ") && text.contains(": "), "{text}");
    }
}

#[test]
fn another_kernel_is_a_cure_where_one_can_be_chosen_and_not_for_a_thread_that_computes_otherwise() {
    let kernel = Kernel::best();
    for section in Section::ALL {
        let difference = Difference { section, kernel };
        let (plain, chosen) = (difference.to_string(), difference.where_kernels_are_chosen());
        assert!(!plain.contains("--kernel") && chosen.starts_with(&plain), "{plain}");
        assert_eq!(chosen.contains("--kernel"), !Section::OF_THREAD.contains(&section), "{chosen}");
    }
}

/// Tests that change how this thread's floating-point unit works, and with it nobody else's.
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod of_a_thread {
    use std::arch::asm;
    use std::thread;

    use super::*;

    /// Bits of the control register.
    const FLUSH_TO_ZERO: u32 = 1 << 15;
    const DENORMALS_ARE_ZERO: u32 = 1 << 6;
    const ROUNDING: u32 = 13;

    /// What is proved on a thread whose control register has these bits besides.
    fn with(bits: u32, prove: impl FnOnce() -> Result<(), Difference> + Send) -> Result<(), Difference> {
        thread::scope(|scope| {
            let prove = || {
                let mut register = 0u32;
                // SAFETY: the register is read, and written with bits that it has; no exception is unmasked. What follows on
                // this thread computes otherwise, which is what is tested; the thread ends with it.
                unsafe {
                    asm!("stmxcsr [{}]", in(reg) &mut register);
                    asm!("ldmxcsr [{}]", in(reg) &(register | bits));
                }
                prove()
            };
            scope.spawn(prove).join().unwrap()
        })
    }

    #[test]
    fn a_thread_that_flushes_subnormal_numbers_is_found_and_named() {
        for bits in [FLUSH_TO_ZERO, DENORMALS_ARE_ZERO, FLUSH_TO_ZERO | DENORMALS_ARE_ZERO] {
            for kernel in Kernel::available() {
                let found = Err(Difference { section: Section::Subnormals, kernel });
                assert_eq!(with(bits, || prove_thread(kernel)), found, "{bits:x}");
                // Also where the kernel was proved on another thread.
                assert_eq!(prove(kernel), Ok(published()));
                assert_eq!(with(bits, || prove(kernel).map(drop)), found, "{bits:x}");
            }
        }
    }

    #[test]
    fn a_thread_that_rounds_down_or_up_or_towards_zero_is_found_and_named() {
        for mode in 1..=3 {
            for kernel in Kernel::available() {
                let found = Err(Difference { section: Section::Rounding, kernel });
                assert_eq!(with(mode << ROUNDING, || prove_thread(kernel)), found, "mode {mode}");
            }
        }
    }
}
