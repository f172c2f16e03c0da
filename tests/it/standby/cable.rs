//! A way to a server that can be cut: then nothing passes in either direction, and nobody is told.

#![allow(dead_code, reason = "not every program that includes this file cuts it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a cut way looks whether it is whole again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A way to a server.
pub(crate) struct Cable {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Cable {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let is_cut = Arc::new(AtomicBool::new(false));
        let state = is_cut.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                thread::spawn(move || connect(near, server, &state));
            }
        });
        Self { port, is_cut }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn connect(near: TcpStream, server: u16, is_cut: &Arc<AtomicBool>) {
    wait(is_cut);
    let Ok(far) = TcpStream::connect(("127.0.0.1", server)) else {
        return;
    };
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let state = is_cut.clone();
    thread::spawn(move || pass(far_too, near_too, &state));
    pass(near, far, is_cut);
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or_default();
        wait(is_cut);
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
}

fn wait(is_cut: &AtomicBool) {
    while is_cut.load(Ordering::SeqCst) {
        thread::sleep(LOOK_AGAIN);
    }
}
