//! Descriptors handed from one process to another, SCM_RIGHTS in unix(7).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// The most that can be handed over at once.
pub(crate) const MOST: usize = 64;

/// Hands them over, in this order.
///
/// # Errors
/// `E2BIG` if there are more than [`MOST`], of which nothing is handed over.
pub(crate) fn hand_over(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if descriptors.len() > MOST {
        return Err(Errno::E2BIG.into());
    }
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    // Some data has to go with them.
    let data = [IoSlice::new(b".")];
    let rights = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(socket.as_raw_fd(), &data, rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Waits for what is handed over.
///
/// # Errors
/// `EPIPE` if the other side has gone instead; `ENOBUFS` if it has sent more than [`MOST`].
pub(crate) fn receive(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; MOST]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), flags)?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(rights) = control {
            // SAFETY: the kernel has just made these descriptors for this process.
            received.extend(rights.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.bytes == 0 {
        return Err(Errno::EPIPE.into());
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_handed_over_arrives() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let zero = File::open("/dev/zero").unwrap();
        hand_over(&ours, &[zero.as_fd()]).unwrap();
        hand_over(&ours, &[]).unwrap();
        let too_many = hand_over(&ours, &[zero.as_fd(); MOST + 1]).unwrap_err();
        assert_eq!(too_many.raw_os_error(), Some(libc::E2BIG));
        hand_over(&ours, &[zero.as_fd(); MOST]).unwrap();
        drop(ours);
        let mut file = File::from(receive(&theirs).unwrap().remove(0));
        let mut byte = [1];
        file.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [0]);
        assert!(receive(&theirs).unwrap().is_empty());
        assert_eq!(receive(&theirs).unwrap().len(), MOST);
        assert_eq!(receive(&theirs).unwrap_err().raw_os_error(), Some(libc::EPIPE));
    }
}
