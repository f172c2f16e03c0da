//! Ends a process whose world does not end.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{process, thread};

/// As long as it lives, the world does. Dropped in time, nothing happens.
pub(crate) struct Watch {
    _living: Sender<()>,
}

impl Watch {
    /// Ends this process if it still lives at the end of that time, by the machine's clock.
    #[expect(clippy::print_stderr, reason = "the world cannot say it any more")]
    pub(crate) fn begin(deadline: Duration) -> Self {
        Self::over(deadline, move || {
            eprintln!("the world has not ended after {deadline:?}");
            process::exit(1);
        })
    }

    fn over(deadline: Duration, late: impl FnOnce() + Send + 'static) -> Self {
        let (living, ended) = channel::<()>();
        thread::spawn(move || {
            if ended.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
                late();
            }
        });
        Self { _living: living }
    }
}

#[test]
fn only_a_world_that_has_not_ended_in_time_is_ended() {
    let (late, was_late) = channel();
    let other = late.clone();
    let ended = Watch::over(Duration::from_millis(50), move || {
        late.send("ended").expect("the test waits")
    });
    drop(ended);
    let _living = Watch::over(Duration::from_millis(100), move || {
        other.send("living").expect("the test waits")
    });
    let said: Vec<_> = was_late.iter().collect();
    assert_eq!(said, ["living"]);
}
