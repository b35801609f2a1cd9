//! The system calls that no library wraps: many datagrams in one call, the drop counter of a
//! socket, netlink multicast groups. The only unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "recvmmsg, SO_MEMINFO and SOL_NETLINK have no safe wrapper"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Memory for the datagrams of one recvmmsg(2), used again and again.
pub(crate) struct Datagrams {
    bytes: Vec<u8>,
    /// Bytes for each datagram.
    size: usize,
    names: Vec<libc::sockaddr_storage>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// One received datagram.
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    /// It was longer than its buffer, and the rest is lost.
    pub(crate) truncated: bool,
    name: &'a libc::sockaddr_storage,
}

impl Datagrams {
    /// Room for `count` datagrams of at most `size` bytes.
    pub(crate) fn new(count: usize, size: usize) -> Self {
        // SAFETY: all three are plain C structures for which all zeroes is a valid value.
        let (name, vector, header) = unsafe {
            (
                zeroed::<libc::sockaddr_storage>(),
                zeroed::<libc::iovec>(),
                zeroed::<libc::mmsghdr>(),
            )
        };
        Self {
            bytes: vec![0; count * size],
            size,
            names: vec![name; count],
            vectors: vec![vector; count],
            headers: vec![header; count],
        }
    }

    /// How many fit.
    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Takes what is there without waiting, and says how many; 0 when there is none.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let buffers = self.bytes.chunks_exact_mut(self.size);
        for (((header, vector), name), buffer) in self
            .headers
            .iter_mut()
            .zip(&mut self.vectors)
            .zip(&mut self.names)
            .zip(buffers)
        {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            header.msg_len = 0;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = ptr::null_mut();
            header.msg_hdr.msg_controllen = 0;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: each header points to a vector, a name and a buffer of this structure, set
        // just above, which nobody else uses during the call; their lengths are given.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        match usize::try_from(result) {
            Ok(count) => Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                    _ => Err(error),
                }
            }
        }
    }

    /// The first `count` datagrams of the last [`Datagrams::receive`].
    pub(crate) fn iter(&self, count: usize) -> impl Iterator<Item = Datagram<'_>> {
        self.headers
            .iter()
            .zip(&self.names)
            .zip(self.bytes.chunks_exact(self.size))
            .take(count)
            .map(|((header, name), buffer)| Datagram {
                bytes: buffer.get(..header.msg_len as usize).unwrap_or_default(),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                name,
            })
    }
}

impl Datagram<'_> {
    /// The sender's address, if it is one of IP.
    pub(crate) fn sender(&self) -> Option<SocketAddr> {
        match libc::c_int::from(self.name.ss_family) {
            libc::AF_INET => {
                // SAFETY: a sockaddr_storage is at least as long and as aligned as a sockaddr_in,
                // of which the family says that it is one; all its bit patterns are valid.
                let name = unsafe { &*ptr::from_ref(self.name).cast::<libc::sockaddr_in>() };
                let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
                Some(SocketAddr::from((address, u16::from_be(name.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above, for sockaddr_in6.
                let name = unsafe { &*ptr::from_ref(self.name).cast::<libc::sockaddr_in6>() };
                let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
                let port = u16::from_be(name.sin6_port);
                // A dual-stack socket shows IPv4 senders as ::ffff:a.b.c.d.
                Some(SocketAddr::from((address.to_canonical(), port)))
            }
            _ => None,
        }
    }

    /// The netlink port of the sender: 0 is the kernel.
    pub(crate) fn netlink_port(&self) -> Option<u32> {
        (libc::c_int::from(self.name.ss_family) == libc::AF_NETLINK).then(|| {
            // SAFETY: as above, for sockaddr_nl.
            unsafe { (*ptr::from_ref(self.name).cast::<libc::sockaddr_nl>()).nl_pid }
        })
    }
}

/// Joins a multicast group of a netlink socket (netlink(7), NETLINK_ADD_MEMBERSHIP).
pub(crate) fn join_group(socket: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    // SAFETY: the pointer and length are those of `group`, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            ptr::from_ref(&group).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How many datagrams the kernel has dropped at this socket, modulo 2^32 (SO_MEMINFO,
/// include/uapi/linux/sock_diag.h).
pub(crate) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = [0u32; MEMINFO_LENGTH];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointer and length are those of `info`; the kernel writes no further.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            ptr::from_mut(&mut info).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(info[MEMINFO_DROPS])
}

const MEMINFO_LENGTH: usize = 16;
/// SK_MEMINFO_DROPS.
const MEMINFO_DROPS: usize = 8;
