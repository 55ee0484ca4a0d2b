//! Damaged files of every format: no panic, no memory beyond what the file accounts for.
//!
//! `PATCHWORK_FUZZ_CASES` sets the number of inputs (a short run by default); the test says on standard error how
//! many there were and what the costliest took.

use std::time::{Duration, Instant};

use patchwork_networks::Network;
use patchwork_networks::pickle::{EdmSnapshot, ExternalCheckpoint, parse_checkpoint};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::json;
use tch::Device;

use crate::allocation::peak;
use crate::pickler::{archive, legacy, object, published, snapshot};

/// Inputs of an ordinary run of the tests.
const CASES: u32 = 1500;

/// The most bytes that reading a file may hold at once, tensors' elements not counted: a value of the pickle
/// takes some 32 bytes, a place on the stack and one in the memo, and growing vectors hold both sizes for a moment.
pub(crate) fn largest_allocation(file_length: usize) -> usize {
    192 * file_length + (1 << 20)
}

/// Bytes of the tensors' elements.
pub(crate) fn bytes_of(content: &ExternalCheckpoint) -> usize {
    let tensors = match content {
        ExternalCheckpoint::Network(network) => &network.tensors,
        ExternalCheckpoint::StateDict(tensors) => tensors,
    };
    tensors
        .values()
        .map(|tensor| tensor.numel() * tensor.kind().elt_size_in_bytes())
        .sum()
}

/// One thing done to a file. Places are taken modulo its length.
#[derive(Clone, Debug)]
enum Damage {
    FlipBit(Index, u8),
    SetByte(Index, u8),
    Truncate(Index),
    Remove(Index, u16),
    Insert(Index, Vec<u8>),
    /// Bytes of this file to another place of it, instead of what is there or before it.
    Splice {
        from: Index,
        length: u16,
        to: Index,
        overwrite: bool,
    },
    /// A number in the place of a length.
    Number {
        at: Index,
        width: u8,
        value: u64,
    },
    Repeat {
        from: Index,
        length: u8,
        times: u16,
    },
    /// The beginning of one file and the end of another.
    Join(Index, u8, Index),
}

/// Every instruction of the machine, and some that it does not know.
const OPCODES: &[u8] = b".(012NKMJGXUTBC)tl]}daesucRbQqrhj\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96iIo";

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0u32..64).prop_map(|bit| 1u64 << bit),
        (0u32..64).prop_map(|bit| (1u64 << bit).wrapping_sub(1)),
        Just(u64::MAX),
        Just(i64::MAX as u64),
        any::<u64>(),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        3 => (at(), any::<u8>()).prop_map(|(at, value)| Damage::SetByte(at, value)),
        4 => (at(), prop::sample::select(OPCODES)).prop_map(|(at, value)| Damage::SetByte(at, value)),
        1 => at().prop_map(Damage::Truncate),
        2 => (at(), 1u16..64).prop_map(|(at, length)| Damage::Remove(at, length)),
        2 => (at(), prop::collection::vec(prop::sample::select(OPCODES), 1..6))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        3 => (at(), 1u16..300, at(), any::<bool>())
            .prop_map(|(from, length, to, overwrite)| Damage::Splice { from, length, to, overwrite }),
        4 => (at(), prop::sample::select(&[1u8, 2, 4, 8][..]), number())
            .prop_map(|(at, width, value)| Damage::Number { at, width, value }),
        1 => (at(), 1u8..80, 1u16..2000)
            .prop_map(|(from, length, times)| Damage::Repeat { from, length, times }),
        1 => (at(), any::<u8>(), at()).prop_map(|(at, other, from)| Damage::Join(at, other, from)),
    ]
}

fn apply(file: &mut Vec<u8>, damage: &Damage, corpus: &[Vec<u8>]) {
    if file.is_empty() {
        return;
    }
    let length = file.len();
    match damage {
        Damage::FlipBit(at, bit) => file[at.index(length)] ^= 1 << bit,
        Damage::SetByte(at, value) => file[at.index(length)] = *value,
        Damage::Truncate(at) => file.truncate(at.index(length)),
        Damage::Remove(at, count) => {
            let start = at.index(length);
            file.drain(start..length.min(start + usize::from(*count)));
        }
        Damage::Insert(at, bytes) => {
            let start = at.index(length);
            file.splice(start..start, bytes.iter().copied());
        }
        Damage::Splice {
            from,
            length: count,
            to,
            overwrite,
        } => {
            let start = from.index(length);
            let piece = file[start..length.min(start + usize::from(*count))].to_vec();
            let to = to.index(length);
            let replaced = if *overwrite { piece.len() } else { 0 };
            file.splice(to..length.min(to + replaced), piece);
        }
        Damage::Number { at, width, value } => {
            let start = at.index(length);
            let end = length.min(start + usize::from(*width));
            file[start..end].copy_from_slice(&value.to_le_bytes()[..end - start]);
        }
        Damage::Repeat {
            from,
            length: count,
            times,
        } => {
            let start = from.index(length);
            let piece = file[start..length.min(start + usize::from(*count))].to_vec();
            file.splice(start..start, piece.repeat(usize::from(*times)));
        }
        Damage::Join(at, other, from) => {
            let other = &corpus[usize::from(*other) % corpus.len()];
            file.truncate(at.index(length));
            file.extend(&other[from.index(other.len())..]);
        }
    }
}

/// Whole files of every format; the last one, with real weights, is far larger than the others.
fn corpus() -> Vec<Vec<u8>> {
    let arguments = json!({
        "img_resolution": 16, "in_channels": 5, "out_channels": 3, "label_dim": 2, "model_channels": 8,
        "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1,
        "embedding_type": "positional", "resample_filter": [1, 1]
    });
    let song = snapshot("Patch_EDMPrecond", "SongUNet", &arguments);
    vec![
        legacy(&object()),
        archive(&object()),
        archive(&song),
        song,
        published(),
    ]
}

/// Which file of the corpus: the large one is slow to read, and most of it is numbers.
fn choice() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0usize..4, 1 => Just(4usize)]
}

fn check(file: &[u8]) -> Result<Duration, TestCaseError> {
    let start = Instant::now();
    let (result, bytes) = peak(|| parse_checkpoint(file, None));
    let taken = start.elapsed();
    let bound = largest_allocation(file.len());
    prop_assert!(bytes <= bound, "{bytes} bytes for a file of {}", file.len());
    let content = match result {
        Ok(content) => content,
        Err(problem) => {
            let message = problem.to_string();
            prop_assert!(message.len() < 4000, "a message of {} bytes", message.len());
            return Ok(taken);
        }
    };
    let elements = bytes_of(&content);
    prop_assert!(
        elements <= 4 * file.len() + (1 << 20),
        "{elements} bytes of tensors"
    );
    if let ExternalCheckpoint::Network(network) = content {
        // Settings alone take no memory, however large a network they describe.
        let EdmSnapshot { config, tensors } = *network;
        let build = || Network::from_tensors(&config, tensors, Device::Cpu).is_ok();
        let (_, bytes) = peak(build);
        prop_assert!(bytes <= 256 << 20, "{bytes} bytes for the network");
    }
    Ok(taken)
}

#[test]
fn damaged_files_cause_no_panic_and_no_large_allocation() {
    let cases = std::env::var("PATCHWORK_FUZZ_CASES").map_or(CASES, |text| {
        text.parse().expect("PATCHWORK_FUZZ_CASES is a number")
    });
    let corpus = corpus();
    for file in &corpus {
        check(file).expect("whole files are well behaved");
        assert!(parse_checkpoint(file, None).is_ok(), "the corpus is whole");
    }
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let started = Instant::now();
    let inputs = std::cell::Cell::new(0u64);
    let slowest = std::cell::Cell::new((Duration::ZERO, 0));
    let strategy = (choice(), prop::collection::vec(damage(), 1..7));
    let result = TestRunner::new(config).run(&strategy, |(which, changes)| {
        let mut file = corpus[which].clone();
        for change in &changes {
            apply(&mut file, change, &corpus);
        }
        inputs.set(inputs.get() + 1);
        let taken = check(&file)?;
        if taken > slowest.get().0 {
            slowest.set((taken, file.len()));
        }
        Ok(())
    });
    let (longest, length) = slowest.get();
    eprintln!(
        "{} damaged files in {:.0?}; the slowest took {longest:.1?} for {length} bytes",
        inputs.get(),
        started.elapsed()
    );
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (which, changes))) => {
            panic!("{reason}\nfile {which} of the corpus, {changes:?}")
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn noise_causes_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for start in [&[0x80, 4][..], b"PK\x03\x04", b""] {
            check(&[start, &bytes[..]].concat())?;
        }
    }
}
