//! The network between the agents and the master: who reaches whom, and how long it takes.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, mpsc};
use tombolo_identity::transport::{Address, ByteStream, Dial, Proxy};

use crate::pipe::{End, Way, Wire, connection, lock};

/// Clones are one.
#[derive(Clone)]
pub(crate) struct Network {
    state: Arc<Mutex<State>>,
    /// Something can be reached that could not.
    mended: Arc<Notify>,
}

struct State {
    rng: ChaCha8Rng,
    latency: Duration,
    wires: Vec<(usize, Weak<Mutex<Wire>>)>,
    cuts: Vec<[bool; 2]>,
    master: Listener,
}

/// What whoever dials the master finds.
enum Listener {
    /// It takes connections.
    Takes(mpsc::UnboundedSender<End>),
    /// Its machine says that nobody listens.
    Refuses,
    /// Its machine says nothing.
    Silent,
}

impl Network {
    pub(crate) fn new(agents: usize, latency: Duration, rng: ChaCha8Rng) -> Self {
        let state = State {
            rng,
            latency,
            wires: Vec::new(),
            cuts: vec![[false; 2]; agents],
            master: Listener::Refuses,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            mended: Arc::default(),
        }
    }

    /// The way out of an agent.
    pub(crate) fn from(&self, agent: usize) -> Proxy {
        Proxy::by(Arc::new(Dialler {
            network: self.clone(),
            agent,
        }))
    }

    /// The master's connections from now on.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<End> {
        let (sender, ends) = mpsc::unbounded_channel();
        lock(&self.state).master = Listener::Takes(sender);
        self.mended.notify_waiters();
        ends
    }

    /// The master is gone, and with `told` everybody hears of it.
    pub(crate) fn master_gone(&self, told: bool) {
        let mut state = lock(&self.state);
        state.master = if told { Listener::Refuses } else { Listener::Silent };
        state.each(None, |wire| wire.abandon(Way::Down, told));
    }

    /// An agent is gone.
    pub(crate) fn agent_gone(&self, agent: usize, told: bool) {
        lock(&self.state).each(Some(agent), |wire| wire.abandon(Way::Up, told));
    }

    /// Each end of the agent's connections hears that they are broken, or does not.
    pub(crate) fn reset(&self, agent: usize, heard: [bool; 2]) {
        lock(&self.state).each(Some(agent), |wire| {
            for (way, heard) in Way::BOTH.into_iter().zip(heard) {
                if heard {
                    wire.abandon(way, false);
                }
            }
        });
    }

    /// Whether anything gets through from and to an agent. What was sent meanwhile arrives when it does again.
    pub(crate) fn cut(&self, agent: usize, cut: [bool; 2]) {
        let mut state = lock(&self.state);
        state.cuts[agent] = cut;
        state.each(Some(agent), |wire| {
            Way::BOTH.into_iter().zip(cut).for_each(|(way, cut)| wire.cut(way, cut));
        });
        self.mended.notify_waiters();
    }

    pub(crate) fn slow_down(&self, latency: Duration) {
        let mut state = lock(&self.state);
        state.latency = latency;
        state.each(None, |wire| wire.slow_down(latency));
    }

    async fn dial(self, agent: usize) -> io::Result<End> {
        let trip = {
            let mut state = lock(&self.state);
            let most = u64::try_from(state.latency.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(state.rng.random_range(most / 2..=2 * most))
        };
        tokio::time::sleep(trip).await;
        loop {
            let mended = self.mended.notified();
            tokio::pin!(mended);
            mended.as_mut().enable();
            if let Some(dialled) = self.try_dial(agent) {
                return dialled;
            }
            mended.await;
        }
    }

    /// None if nothing is heard.
    fn try_dial(&self, agent: usize) -> Option<io::Result<End>> {
        let mut state = lock(&self.state);
        if state.cuts[agent] != [false; 2] {
            return None;
        }
        let refused = || Some(Err(io::ErrorKind::ConnectionRefused.into()));
        let sender = match &state.master {
            Listener::Takes(sender) => sender.clone(),
            Listener::Refuses => return refused(),
            Listener::Silent => return None,
        };
        let rng = ChaCha8Rng::seed_from_u64(state.rng.next_u64());
        let (wire, own, masters) = connection(state.latency, rng);
        state.wires.retain(|(_, wire)| wire.strong_count() > 0);
        state.wires.push((agent, Arc::downgrade(&wire)));
        match sender.send(masters) {
            Ok(()) => Some(Ok(own)),
            Err(_) => refused(),
        }
    }
}

impl State {
    fn each(&mut self, agent: Option<usize>, mut act: impl FnMut(&mut Wire)) {
        let chosen = |(of, _): &&(usize, Weak<Mutex<Wire>>)| agent.is_none_or(|agent| agent == *of);
        let wires: Vec<_> = self
            .wires
            .iter()
            .filter(chosen)
            .filter_map(|(_, wire)| wire.upgrade())
            .collect();
        wires.iter().for_each(|wire| act(&mut lock(wire)));
    }
}

/// Dials for one agent.
struct Dialler {
    network: Network,
    agent: usize,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the simulated network of agent {}", self.agent)
    }
}

impl Dial for Dialler {
    fn dial(&self, _: &Address) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let dialling = self.network.clone().dial(self.agent);
        dialling.map(|end| Ok(Box::new(end?) as Box<dyn ByteStream>)).boxed()
    }
}
