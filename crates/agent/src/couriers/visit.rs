//! One attempt whose courier is expected: what it is told, and what it has said.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;
use tombolo_core::time::Timestamp;

use super::contact::{Contact, Listener};
use super::entering::{Entering, Entrant};
use super::ledger::Ledger;
use super::log::PodLog;
use super::losses::Losses;
use super::{Duty, Progress};
use crate::exec::{self, Failure, Reason};
use crate::executor::{Collected, Urgency};
use crate::folder::{AttemptFolder, Durability, read_record, write_record};
use crate::link::Granted;
use crate::supervisor::{Exit, SYSTEM_PREFIX, Started};

/// How long a courier may take to attend to a command.
const ATTEND_DEADLINE: Duration = Duration::from_secs(15);

/// What the courier is to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The command may start.
    pub(super) begin: bool,
    /// It is to end.
    pub(super) stop: Option<Urgency>,
    /// Sessions older than this one are over.
    pub(super) session: u64,
    /// The largest number of those who want another command in the pod.
    pub(super) entering: u64,
    /// Nobody is expected any more.
    pub(super) dismissed: bool,
}

/// The attempt's log, for as long as the pod may write to it: then it is free for the agent's last words.
enum Log {
    Open(PodLog),
    Closed { next_line: u64 },
}

/// An attempt whose courier may call.
pub(super) struct Expected {
    folder: AttemptFolder,
    pub(super) duty: Duty,
    log: Mutex<Log>,
    progress: watch::Sender<Progress>,
    wanted: watch::Sender<Wanted>,
    log_has_grown: Notify,
    pub(super) entering: Entering,
    /// Whether the courier is heard.
    pub(super) contact: std::sync::Arc<Contact>,
    /// What was signed for the attempt.
    pub(super) ledger: Ledger,
    /// What of its inputs is not whole.
    pub(super) losses: Losses,
    /// The lease until whose end the command may go on, if it ends with that.
    held: Mutex<Option<Granted>>,
}

pub(super) fn not_running() -> Failure {
    Failure::new(Reason::NotRunning, "the job's command does not run here")
}

impl Expected {
    /// What an earlier agent has recorded is known.
    pub(super) fn open(folder: &AttemptFolder, duty: Duty) -> io::Result<Self> {
        let started: Option<Started> = read_record(&folder.started())?;
        let exit: Option<Exit> = read_record(&folder.exit())?;
        let over = exit.is_some();
        let progress = Progress {
            staged: started.is_some(),
            started,
            exit,
            collected: read_record(&folder.collected())?,
        };
        Ok(Self {
            folder: folder.clone(),
            log: Mutex::new(Log::Open(PodLog::open(folder, duty.command.log_limit_bytes)?).closed_if(over)),
            duty,
            progress: watch::channel(progress).0,
            wanted: watch::channel(Wanted::default()).0,
            log_has_grown: Notify::new(),
            entering: Entering::default(),
            contact: std::sync::Arc::new(Contact::new()),
            ledger: Ledger::default(),
            losses: Losses::default(),
            held: Mutex::default(),
        })
    }

    /// The lease until whose end the command may go on; none if it is to stop.
    pub(super) fn held(&self) -> Option<Granted> {
        let is_to_stop = self.wanted.borrow().stop.is_some();
        self.lock_held().filter(|_| !is_to_stop)
    }

    fn lock_held(&self) -> MutexGuard<'_, Option<Granted>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the courier start another command beside the attempt's own.
    pub(super) async fn enter(&self, request: exec::Request) -> Result<exec::Session, Failure> {
        let runs = {
            let progress = self.progress.borrow();
            progress.started.is_some() && progress.exit.is_none()
        };
        if !runs {
            return Err(not_running());
        }
        let (session, far) = exec::session();
        let (attended, attendance) = oneshot::channel();
        let entrant = Entrant { request, far, attended };
        let number = self.entering.add(entrant)?;
        let _withdrawn = Withdrawn {
            entering: &self.entering,
            number,
        };
        self.wanted
            .send_modify(|wanted| wanted.entering = wanted.entering.max(number));
        match timeout(ATTEND_DEADLINE, attendance).await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(_)) | Err(_) => {
                let seconds = ATTEND_DEADLINE.as_secs();
                let message = format!(
                    "the job's pod did not answer within {seconds} s: its node may be busy or lost, or the pod was made by an older agent"
                );
                Err(Failure::new(Reason::Unavailable, message))
            }
        }
    }

    /// A new session, which ends the one before; and what it has to tell the courier.
    pub(super) fn open_session(&self) -> (u64, watch::Receiver<Wanted>) {
        let mut session = 0;
        self.wanted.send_modify(|wanted| {
            wanted.session += 1;
            session = wanted.session;
        });
        (session, self.wanted.subscribe())
    }

    /// Ends its session, and lets go of the log.
    pub(super) fn dismiss(&self) {
        self.wanted.send_modify(|wanted| wanted.dismissed = true);
        self.log().close();
    }

    pub(super) fn staged(&self) {
        self.progress.send_modify(|progress| progress.staged = true);
    }

    pub(super) fn started(&self, started_at: Timestamp) -> io::Result<()> {
        if self.progress.borrow().started.is_some() {
            return Ok(());
        }
        // Processes of another machine mean nothing here.
        let started = Started {
            supervisor: 0,
            command: 0,
            started_at,
        };
        write_record(&self.folder.started(), &started, Durability::Synced)?;
        self.progress.send_modify(|progress| {
            progress.staged = true;
            progress.started = Some(started);
        });
        Ok(())
    }

    /// Takes lines, and tells which is wanted next.
    pub(super) fn lines(&self, first_line: u64, lines: Vec<(Timestamp, Vec<u8>)>) -> io::Result<u64> {
        let next = {
            let mut log = self.log();
            if let Log::Open(log) = &mut *log {
                log.append(first_line, lines)?;
            }
            log.next_line()
        };
        self.log_has_grown.notify_one();
        Ok(next)
    }

    /// Adds lines of the agent's own, as long as the pod has written none.
    fn note(&self, lines: &[Vec<u8>]) -> io::Result<()> {
        if let Log::Open(log) = &mut *self.log() {
            let now = Timestamp(tombolo_runtime::clock::now().wall_milliseconds);
            log.note(&self.folder, now, lines)?;
        }
        self.log_has_grown.notify_one();
        Ok(())
    }

    /// Takes the exit, unless lines of the log are missing: tells which is wanted next then.
    pub(super) fn exited(&self, mut exit: Exit) -> io::Result<Result<(), u64>> {
        if self.progress.borrow().exit.is_some() {
            return Ok(Ok(()));
        }
        {
            let mut log = self.log();
            let Log::Open(open) = &*log else {
                return Err(io::Error::other("the attempt is not expected any more"));
            };
            if open.next_line() < exit.log_lines {
                return Ok(Err(open.next_line()));
            }
            exit.log_lines = open.lines();
            write_record(&self.folder.exit(), &exit, Durability::Synced)?;
            log.close();
        }
        self.progress.send_modify(|progress| progress.exit = Some(exit));
        Ok(Ok(()))
    }

    pub(super) fn finish(&self, collected: Collected) -> io::Result<()> {
        if self.progress.borrow().collected.is_some() {
            return Ok(());
        }
        write_record(&self.folder.collected(), &collected, Durability::Synced)?;
        self.progress
            .send_modify(|progress| progress.collected = Some(collected));
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    const fn next_line(&self) -> u64 {
        match self {
            Self::Open(log) => log.next_line(),
            Self::Closed { next_line } => *next_line,
        }
    }

    fn close(&mut self) {
        let next_line = self.next_line();
        *self = Self::Closed { next_line };
    }

    fn closed_if(mut self, over: bool) -> Self {
        if over {
            self.close();
        }
        self
    }
}

/// Whoever does not wait any more is not attended to.
struct Withdrawn<'entering> {
    entering: &'entering Entering,
    number: u64,
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        drop(self.entering.take(self.number));
    }
}

/// The attempt as its executor sees it.
pub struct Visit {
    expected: std::sync::Arc<Expected>,
    progress: watch::Receiver<Progress>,
}

impl Visit {
    pub(super) fn new(expected: std::sync::Arc<Expected>) -> Self {
        let progress = expected.progress.subscribe();
        Self { expected, progress }
    }

    /// Whether the sandbox is complete and the command waits for [`Self::begin`], or has begun.
    pub fn is_staged(&self) -> bool {
        self.progress.borrow().staged
    }

    /// Whether the command has started, or will not.
    pub fn has_begun(&self) -> bool {
        let progress = self.progress.borrow();
        progress.started.is_some() || progress.exit.is_some()
    }

    /// What of its inputs is not whole in the cluster's store.
    pub fn losses(&self) -> Losses {
        self.expected.losses.clone()
    }

    /// Whether the courier is heard, from now on.
    pub fn listen(&self) -> Listener {
        self.expected.contact.listen()
    }

    /// Whether the pod has said its last word.
    pub fn is_over(&self) -> bool {
        let progress = self.progress.borrow();
        progress.exit.is_some() && progress.collected.is_some()
    }

    /// Tells whoever reads the job's log what the pod waits for. Nothing happens once the pod itself has written to it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn note(&self, text: &str) -> io::Result<()> {
        let line = |line: &str| format!("{SYSTEM_PREFIX}{line}").into_bytes();
        self.expected.note(&text.lines().map(line).collect::<Vec<_>>())
    }

    /// Lets the command start.
    pub fn begin(&self) {
        self.expected.wanted.send_modify(|wanted| wanted.begin = true);
    }

    /// Lets a command that ends with its cluster's lease go on until the end of this one.
    pub fn hold(&self, lease: Granted) {
        *self.expected.lock_held() = Some(lease);
    }

    /// Asks for the command's end; one that has not started will not.
    pub fn stop(&self, urgency: Urgency) {
        self.expected
            .wanted
            .send_modify(|wanted| wanted.stop = wanted.stop.max(Some(urgency)));
    }

    /// Waits until the sandbox is complete.
    pub async fn staged(&self) {
        self.until(|progress| progress.staged.then_some(())).await;
    }

    /// Waits until the command has started (the time), or has ended without.
    pub async fn begun(&self) -> Option<Timestamp> {
        self.until(|progress| match (&progress.started, &progress.exit) {
            (Some(started), _) => Some(Some(started.started_at)),
            (None, Some(exit)) => Some(exit.started_at),
            (None, None) => None,
        })
        .await
    }

    /// Calls `on_output` whenever the log has grown; does not end.
    pub fn log_grows<OnOutput: Fn()>(&self, on_output: OnOutput) -> impl Future<Output = ()> + use<OnOutput> {
        let expected = std::sync::Arc::clone(&self.expected);
        async move {
            loop {
                expected.log_has_grown.notified().await;
                on_output();
            }
        }
    }

    /// Waits until the command has ended. `on_output` is called when its log has grown.
    pub async fn exit(&self, on_output: impl Fn()) -> Exit {
        let mut exited = std::pin::pin!(self.until(|progress| progress.exit.clone()));
        let mut grows = std::pin::pin!(self.log_grows(on_output));
        loop {
            tokio::select! {
                exit = &mut exited => return exit,
                () = &mut grows => {}
            }
        }
    }

    /// Waits until the pod has said its last word.
    pub async fn collected(&self) -> Collected {
        self.until(|progress| progress.collected.clone()).await
    }

    async fn until<T>(&self, wanted: impl Fn(&Progress) -> Option<T>) -> T {
        let mut progress = self.progress.clone();
        loop {
            if let Some(found) = wanted(&progress.borrow_and_update()) {
                return found;
            }
            // The sender lives as long as this value does.
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
