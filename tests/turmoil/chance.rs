//! What the machine would decide by chance or by its clocks is decided by the seed.
//!
//! What hash maps are ordered by, which branch of a `select!` is looked at first, ids and the jitter of pauses: all of it begins with what the
//! system gives when it is asked for random bytes. The system's function for that is taken over here, in this program alone. The keys and signatures
//! of TLS are not: their library asks the kernel itself. They decide nothing but the bytes that are sent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tombolo_core::time::{Moment, Now, Timestamp};
use tombolo_runtime::{blocking, clock};

/// The calendar at the beginning of every world, in milliseconds.
const BIRTH: u64 = 1_800_000_000_000;
/// The steady clock at the beginning of every world.
const UPTIME: Duration = Duration::from_secs(1000);

static STATE: AtomicU64 = AtomicU64::new(0);
static BEGAN: OnceLock<Instant> = OnceLock::new();

/// Before the world's thread begins: what it draws is the seed's.
pub(crate) fn sow(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
}

/// In the world's thread and runtime, before anything else: time is the runtime's from now on, and calls that block are made in place.
pub(crate) fn begin(seed: u64) {
    fastrand::seed(seed);
    BEGAN.set(Instant::now()).expect("a process is one world");
    clock::stand_in(read).expect("a process is one world");
    blocking::in_place();
}

/// The time that has passed since the beginning.
pub(crate) fn elapsed() -> Duration {
    BEGAN.get().map_or(Duration::ZERO, Instant::elapsed)
}

fn read() -> clock::Reading {
    let elapsed = elapsed();
    clock::Reading {
        wall_milliseconds: BIRTH + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        steady: UPTIME + elapsed,
    }
}

/// What every process of the world calls now.
pub(crate) fn now() -> Now {
    let reading = read();
    Now {
        wall: Timestamp(reading.wall_milliseconds),
        steady: Moment(reading.steady),
    }
}

/// The next eight bytes (SplitMix64).
fn draw() -> u64 {
    let state = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Takes the place of the C library's.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the name and the arguments are the C library's")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: whoever asks says that there is room for so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for piece in bytes.chunks_mut(8) {
        let drawn = draw().to_le_bytes();
        piece.copy_from_slice(&drawn[..piece.len()]);
    }
    length.cast_signed()
}
