//! What passes between the supervisor and those who want another command of it: packets of JSON, one connection for each command, and
//! with the first answer the ends of its streams.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg, sendmsg, socket_with,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exec::{Exit, Failure};
use crate::folder::AttemptFolder;

/// The largest packet: the longest command, each byte of it escaped (`\u0001`).
const PACKET_BYTES: usize = 6 * crate::exec::COMMAND_BYTES + 4096;
/// Input, output and errors; or a terminal.
const MAX_STREAMS: usize = 3;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// What the supervisor says of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// It runs. With it come its terminal, or the ends of its streams: input (if it was asked for), output, errors.
    Started,
    /// There is none.
    Refused(Failure),
    /// It has ended.
    Exited(Exit),
}

/// Listens in the attempt's folder.
pub(super) fn listen_in(folder: &AttemptFolder) -> io::Result<OwnedFd> {
    let socket = socket()?;
    folder.with_sessions_socket(|path| {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(bind(&socket, &SocketAddrUnix::new(path)?)?)
    })?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connects to the supervisor that listens in the attempt's folder.
pub(crate) fn connect_in(folder: &AttemptFolder) -> io::Result<OwnedFd> {
    let socket = socket()?;
    folder.with_sessions_socket(|path| Ok(connect(&socket, &SocketAddrUnix::new(path)?)?))?;
    Ok(socket)
}

/// Packets, so that none has to be put together.
fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends a packet with descriptors.
pub(crate) fn send<T: Serialize>(socket: impl AsFd, packet: &T, streams: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(packet)?;
    if text.len() > PACKET_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STREAMS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !streams.is_empty() && !control.push(SendAncillaryMessage::ScmRights(streams)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a packet; none if the other end is gone.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STREAMS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut streams = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            streams.extend(descriptors);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let packet = serde_json::from_slice(&text[..received.bytes])?;
    Ok(Some((packet, streams)))
}
