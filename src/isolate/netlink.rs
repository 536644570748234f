//! Asking Linux for interfaces and addresses (rtnetlink(7)): one request, one answer.

use std::convert::Infallible;
use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A socket to the kernel.
pub(crate) struct Netlink(Socket);

impl Netlink {
    pub(crate) fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink(socket))
    }

    fn send(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0).map(|_| ())
    }

    /// Gives every message that answers to `each`, up to the last one.
    fn answers(&self, mut each: impl FnMut(Answer)) -> io::Result<()> {
        loop {
            let (bytes, _) = self.0.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::<Answer>::deserialize(rest).map_err(invalid)?;
                // Each begins at a multiple of four.
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                let next = length.checked_next_multiple_of(4).filter(|next| *next > 0);
                rest = next.and_then(|next| rest.get(next..)).unwrap_or_default();
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => each(message),
                    _ => {}
                }
            }
        }
    }

    /// Has something done.
    pub(crate) fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_ACK | flags)?;
        self.answers(drop)
    }

    /// Everything of a kind, all links or all addresses: the messages of type `kind` among the answers, each as
    /// `read` reads it.
    pub(crate) fn dump<T>(
        &self,
        message: RouteNetlinkMessage,
        kind: u16,
        read: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> io::Result<Vec<T>> {
        self.send(message, NLM_F_DUMP)?;
        let mut all = Vec::new();
        self.answers(|answer| {
            if answer.kind == kind {
                all.push(read(&answer.payload));
            }
        })?;
        all.into_iter().collect::<Result<_, _>>().map_err(invalid)
    }
}

/// An answer, not read yet. Whoever only has things done, as a guest's init does, is 0.8 MB smaller for not knowing
/// how to read any.
struct Answer {
    kind: u16,
    payload: Vec<u8>,
}

impl NetlinkDeserializable for Answer {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Answer, Infallible> {
        Ok(Answer { kind: header.message_type, payload: payload.to_owned() })
    }
}

fn invalid(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
