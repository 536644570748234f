//! Which of the session ports are free.
//!
//! A port is used again only after the agent has said that nothing of the earlier session is left
//! in it: neither its processes nor bytes that nobody read.

use crate::testbed::protocol::SESSIONS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// The agent has not opened it yet, or the client has gone and the agent is cleaning up.
    NotReady,
    /// Free to use.
    Idle,
    /// Given to a client.
    Taken,
}

/// The state of all of them.
#[derive(Debug)]
pub(super) struct Ports([Port; SESSIONS]);

impl Ports {
    /// Before the agent has said anything.
    pub(super) fn new() -> Self {
        Self([Port::NotReady; SESSIONS])
    }

    /// A free one.
    pub(super) fn idle(&self) -> Option<usize> {
        self.0.iter().position(|port| *port == Port::Idle)
    }

    /// Whether clients have all of them: one that is merely not ready will be soon.
    pub(super) fn are_all_taken(&self) -> bool {
        self.0.iter().all(|port| *port == Port::Taken)
    }

    /// It is given to a client.
    pub(super) fn take(&mut self, number: usize) {
        self.set(number, Port::Taken);
    }

    /// Its client has gone.
    pub(super) fn release(&mut self, number: usize) {
        self.set(number, Port::NotReady);
    }

    /// The agent says that it is free. Returns whether a client was still using it. Numbers that
    /// there are none of are passed over: the agent may be in hostile hands.
    pub(super) fn ready(&mut self, number: usize) -> bool {
        self.set(number, Port::Idle) == Some(Port::Taken)
    }

    fn set(&mut self, number: usize, state: Port) -> Option<Port> {
        self.0.get_mut(number).map(|port| std::mem::replace(port, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_makes_a_port_free() {
        let mut ports = Ports::new();
        assert_eq!(ports.idle(), None);
        assert!(!ports.ready(3) && !ports.ready(SESSIONS));
        assert_eq!(ports.idle(), Some(3));
        ports.take(3);
        ports.release(3);
        assert_eq!(ports.idle(), None);
        assert!(!ports.ready(3));
        ports.take(3);
        assert!(ports.ready(3));
    }

    #[test]
    fn ports_that_are_not_ready_are_not_taken() {
        let mut ports = Ports::new();
        assert!(!ports.are_all_taken());
        (0..SESSIONS).for_each(|number| ports.take(number));
        assert!(ports.are_all_taken());
        ports.release(3);
        assert!(!ports.are_all_taken());
    }
}
