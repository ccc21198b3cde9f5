//! One fuzzer for all targets of `plaza::fuzz`: `PLAZA_FUZZ_TARGET` says which. What libFuzzer changes at random is
//! mixed with inputs that the target builds, so that it need not find out by itself what an event looks like.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use plaza::fuzz::{Target, target};

/// One input in so many is built anew, and one is changed as the tests change theirs.
const BUILT: u32 = 16;
const CHANGED: u32 = 4;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("PLAZA_FUZZ_TARGET").expect("PLAZA_FUZZ_TARGET names a target of src/fuzz/mod.rs");
        target(&name).unwrap_or_else(|| panic!("src/fuzz/mod.rs has no target {name}"))
    })
}

fuzz_target!(|bytes: &[u8]| {
    chosen().check(bytes);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let target = chosen();
    let made = match seed {
        _ if seed % BUILT == 0 => target.build(seed.into()),
        _ if seed % CHANGED == 0 => target.mutate(&data[..size], seed.into()),
        _ => return fuzzer_mutate(data, size, max_size),
    };
    let size = made.len().min(max_size);
    data[..size].copy_from_slice(&made[..size]);
    size
});
