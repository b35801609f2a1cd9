//! Interfaces as rtnetlink(7) tells of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

/// What is told.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum News<'a> {
    /// There is this interface, perhaps with a new name.
    There(u32, &'a str),
    /// It is gone.
    Gone(u32),
    /// All interfaces that there are have been told.
    All,
    /// Some news was lost: ask for all anew.
    Lost,
}

/// A socket that hears of the interfaces of the network namespace that it was opened in.
pub(crate) struct Links {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Links {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP_LINK))?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST],
        })
    }

    /// Asks for all interfaces that there are.
    pub(crate) fn ask(&self) -> io::Result<()> {
        let mut request = Vec::with_capacity(REQUEST as usize);
        request.extend(REQUEST.to_ne_bytes());
        request.extend(GET_LINK.to_ne_bytes());
        request.extend((FLAG_REQUEST | FLAG_DUMP).to_ne_bytes());
        // Sequence, port, and an empty `struct ifinfomsg`.
        request.resize(REQUEST as usize, 0);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        Ok(())
    }

    /// Takes what is there without waiting. False when there is nothing.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(News<'_>)) -> io::Result<bool> {
        match recv(
            self.socket.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(length) => parse(self.buffer.get(..length).unwrap_or_default(), take),
            Err(nix::Error::EAGAIN) => return Ok(false),
            Err(nix::Error::EINTR) => {}
            Err(nix::Error::ENOBUFS) => take(News::Lost),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn parse(mut messages: &[u8], mut take: impl FnMut(News<'_>)) {
    while let Some((length, kind)) = u32_at(messages, 0).zip(u16_at(messages, 4)) {
        let length = length as usize;
        let Some(message) = messages.get(HEADER..length) else {
            return;
        };
        let flags = u16_at(messages, 6).unwrap_or_default();
        // The list changed while it was told.
        if flags & FLAG_INTERRUPTED != 0 {
            take(News::Lost);
        }
        let index = u32_at(message, 4);
        match (kind, index) {
            (DONE, _) => take(News::All),
            (ERROR, _) => take(News::Lost),
            (DELETED_LINK, Some(index)) => take(News::Gone(index)),
            (NEW_LINK, Some(index)) => {
                if let Some(name) = name(message.get(INFO..).unwrap_or_default()) {
                    take(News::There(index, name));
                }
            }
            _ => {}
        }
        messages = messages
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
}

fn name(mut attributes: &[u8]) -> Option<&str> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == ATTRIBUTE_NAME {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// No message of rtnetlink is longer (NLMSG_GOODSIZE and the 32 KiB of a dump).
const LONGEST: usize = 1 << 16;
/// RTMGRP_LINK
const GROUP_LINK: u32 = 1;
/// Bytes of `struct nlmsghdr` and `struct ifinfomsg`.
const HEADER: usize = 16;
const INFO: usize = 16;
const REQUEST: u32 = (HEADER + INFO) as u32;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const FLAG_REQUEST: u16 = 1;
const FLAG_INTERRUPTED: u16 = 0x10;
const FLAG_DUMP: u16 = 0x300;
/// IFLA_IFNAME
const ATTRIBUTE_NAME: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every machine has a loopback interface, and anybody may ask.
    #[test]
    fn the_kernel_tells_of_the_loopback_interface() {
        let mut links = Links::open().unwrap();
        links.ask().unwrap();
        let (mut loopback, mut all) = (None, false);
        while !all {
            links
                .receive(|news| match news {
                    News::There(index, "lo") => loopback = Some(index),
                    News::All => all = true,
                    _ => {}
                })
                .unwrap();
        }
        assert_eq!(loopback, Some(1));
    }

    #[test]
    fn no_message_does_harm() {
        let mut message = vec![44, 0, 0, 0, 16, 0, 0, 0];
        message.resize(32, 0);
        message.extend([8, 0, 3, 0, b'e', b't', b'h', 0, 0, 0, 0, 0]);
        let told = |bytes: &[u8]| {
            let mut told = Vec::new();
            parse(bytes, |news| told.push(format!("{news:?}")));
            told
        };
        assert_eq!(told(&message), [r#"There(0, "eth")"#]);
        for end in 0..message.len() {
            assert!(told(&message[..end]).is_empty());
        }
        for length in [0, 1, 2, 3, 5, 200] {
            message[32] = length;
            told(&message);
        }
    }
}
