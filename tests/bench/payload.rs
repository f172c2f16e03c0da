//! What is moved: always the same bytes.

use std::fs;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const LARGE_FILES: u64 = 4;
const LARGE_BYTES: usize = 96_000_000;
const SMALL_FILES: u64 = 2_000;
const SMALL_BYTES: usize = 64_000;
/// How many different words there are.
const WORDS: usize = 4_096;

/// The size of everything, in bytes.
pub(crate) const BYTES: u64 = LARGE_FILES * LARGE_BYTES as u64 + SMALL_FILES * SMALL_BYTES as u64;
/// How much of it another version has in another form: one in a hundred.
const CHANGED_BYTES: usize = (BYTES / 100) as usize;

/// Writes it into a new folder: large files of noise, and small ones of words.
pub(crate) fn make(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("text"))?;
    for number in 0..LARGE_FILES {
        fs::write(folder.join(format!("noise-{number}")), noise(number, LARGE_BYTES))?;
    }
    let mut random = ChaCha8Rng::seed_from_u64(LARGE_FILES);
    let words: Vec<Vec<u8>> = (0..WORDS).map(|_| word(&mut random)).collect();
    for number in 0..SMALL_FILES {
        let mut text = Vec::with_capacity(SMALL_BYTES + 16);
        while text.len() < SMALL_BYTES {
            text.extend_from_slice(&words[random.next_u32() as usize % WORDS]);
            text.push(if random.next_u32() % 12 == 0 { b'\n' } else { b' ' });
        }
        text.truncate(SMALL_BYTES);
        fs::write(folder.join(format!("text/{number:04}")), text)?;
    }
    Ok(())
}

/// Changes one part of it, in one place.
pub(crate) fn change(folder: &Path) -> std::io::Result<()> {
    let path = folder.join("noise-1");
    let mut bytes = fs::read(&path)?;
    let at = LARGE_BYTES / 2;
    bytes[at..at + CHANGED_BYTES].copy_from_slice(&noise(LARGE_FILES + 1, CHANGED_BYTES));
    fs::write(path, bytes)
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn word(random: &mut ChaCha8Rng) -> Vec<u8> {
    let length = 2 + random.next_u32() % 9;
    (0..length).map(|_| b'a' + (random.next_u32() % 26) as u8).collect()
}
