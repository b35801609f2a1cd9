//! The calls of libbpf that have no safe wrapper without an allocation for each entry, or none at
//! all. The only unsafe code of this crate.
#![expect(
    unsafe_code,
    reason = "batches of maps and links of TCX have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libbpf_sys::{
    BPF_TCX_EGRESS, BPF_TCX_INGRESS, bpf_link_create, bpf_map_lookup_and_delete_batch,
};

use crate::Heading;

/// What one call took out of a map.
pub(crate) struct Batch {
    pub(crate) entries: usize,
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<u32>,
}

/// Takes up to `most` entries out of a hash map, which nobody may write to.
///
/// `keys` and `values` are as long as `most` entries of the map.
pub(crate) fn take_batch(
    map: BorrowedFd<'_>,
    from: Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
    most: usize,
) -> io::Result<Batch> {
    let mut from = from;
    let mut next = 0_u32;
    let mut count = most as u32;
    // SAFETY: the kernel writes at most `count` keys and values, for which the caller made room;
    // the place in a hash map is a `u32` (kernel/bpf/hashtab.c). All outlive the call.
    let result = unsafe {
        bpf_map_lookup_and_delete_batch(
            map.as_raw_fd(),
            from.as_mut()
                .map_or(ptr::null_mut(), |from| ptr::from_mut(from).cast()),
            ptr::from_mut(&mut next).cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &raw mut count,
            ptr::null(),
        )
    };
    let entries = (count as usize).min(most);
    match -result {
        0 => Ok(Batch {
            entries,
            next: Some(next),
        }),
        // ENOENT: there is no more.
        2 => Ok(Batch {
            entries,
            next: None,
        }),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Attaches a program to an interface of the current network namespace by TCX, until the link is
/// closed.
pub(crate) fn attach_tcx(
    program: BorrowedFd<'_>,
    interface: u32,
    heading: Heading,
) -> io::Result<OwnedFd> {
    let kind = match heading {
        Heading::In => BPF_TCX_INGRESS,
        Heading::Out => BPF_TCX_EGRESS,
    };
    // SAFETY: only numbers are passed; no options.
    let link = unsafe { bpf_link_create(program.as_raw_fd(), interface as i32, kind, ptr::null()) };
    if link < 0 {
        return Err(io::Error::from_raw_os_error(-link));
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}
