// Upstream: actors, data_worker
// Downstream: random
// Role: Feeds parsers with many mutated, truncated and random inputs, the same in every run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::random::Random;

/// Number of inputs for each parser.
pub const CASES: usize = 100_000;

/// Bytes that have a meaning in some of the parsed formats.
const SPECIAL_BYTES: &[u8] = b"\x00\x01\x7f\x80\xff\"',:;{}[]<>\\\n\r -+.eE09";

/// Calls `read` with mutated samples and, in one of ten cases, with random bytes. `read` must not panic; the input of a
/// panic is printed.
pub fn mutate(samples: &[impl AsRef<[u8]>], read: impl Fn(&[u8])) {
    let mut random = Random(0x5eed);
    for case in 0..CASES {
        let sample = samples[random.below(samples.len())].as_ref();
        let input = if case % 10 == 0 { random.bytes(80) } else { changed(sample, &mut random) };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&input))) {
            eprintln!("case {case}: {:?}", String::from_utf8_lossy(&input));
            eprintln!("as bytes: {input:?}");
            resume_unwind(panic);
        }
    }
}

/// Like [`mutate`] for parsers of text: every error must have a text.
pub fn mutate_text<T, E: fmt::Display>(samples: &[impl AsRef<[u8]>], read: impl Fn(&str) -> Result<T, E>) {
    mutate(samples, |bytes| {
        if let Err(error) = read(&String::from_utf8_lossy(bytes)) {
            assert!(!error.to_string().is_empty());
        }
    });
}

/// The sample with one to three random changes.
fn changed(sample: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        let byte = if random.below(2) == 0 {
            SPECIAL_BYTES[random.below(SPECIAL_BYTES.len())]
        } else {
            random.below(256) as u8
        };
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let from = random.below(bytes.len() + 1).min(at);
                let piece = bytes[from..at.min(from + 40)].to_vec();
                bytes.splice(at..at, piece);
            }
            4 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ if at < bytes.len() => bytes[at] = byte,
            _ => bytes.push(byte),
        }
    }
    bytes
}
