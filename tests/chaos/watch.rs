//! Who leads, and how much memory parts have: looked at all the time.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::judge::history::Fact;
use crate::parts::Parts;
use crate::record::Recorder;

const LOOK: Duration = Duration::from_millis(50);
/// A master that stands still does not answer.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);
const WEIGH: Duration = Duration::from_secs(1);
/// What a part may have of its own, the program not counted: the design's bound for agents, and twice that for masters.
const AGENT_BYTES: u64 = 128 << 20;
const MASTER_BYTES: u64 = 256 << 20;
/// Only what is more than before by so much is told.
const WORTH_TELLING: u64 = 1 << 20;

/// Looks until it is over.
pub(crate) fn watch(parts: &Parts, recorder: &Recorder, probes: &[u16], is_over: &AtomicBool) {
    let mut led = vec![false; probes.len()];
    let mut most = std::collections::BTreeMap::new();
    let mut weighed = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        for (master, port) in probes.iter().enumerate() {
            let leads = role(*port).is_some_and(|role| role.starts_with("leader"));
            if leads && !led[master] {
                recorder.note(Fact::Leads { master });
            }
            led[master] = leads;
        }
        if weighed.elapsed() >= WEIGH {
            weighed = Instant::now();
            for cluster in parts.clusters() {
                // What could not be read is read the next time.
                let _ = cluster.follow();
            }
            for (part, process) in parts.processes() {
                // One that has just ended has none.
                let Some(bytes) = own_bytes(process) else { continue };
                let before = most.get(&part).copied();
                if before.is_none_or(|before| bytes > before + WORTH_TELLING) {
                    most.insert(part.clone(), bytes);
                    let bound = if part.starts_with("master") {
                        MASTER_BYTES
                    } else {
                        AGENT_BYTES
                    };
                    recorder.note(Fact::Memory { part, bytes, bound });
                }
            }
        }
        thread::sleep(LOOK);
    }
}

fn role(port: u16) -> Option<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut socket = TcpStream::connect_timeout(&address, ANSWERED_WITHIN).ok()?;
    socket.set_read_timeout(Some(ANSWERED_WITHIN)).ok()?;
    socket
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.trim().to_owned())
}

/// What a process holds that is not in a file.
fn own_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}
