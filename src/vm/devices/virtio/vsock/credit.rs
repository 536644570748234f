//! Flow control (virtio 1.2, section 5.10.6.3): each side says how much room it has and how much has
//! left that room, and the other sends no more than fits. Counters wrap.

/// How many bytes of the guest's wait for a slow program on the host, at most, a connection.
pub const BUF_ALLOC: u32 = 64 << 10;
/// The guest is told of free room once it is this much more than it knows of.
const WORTH_TELLING: u32 = BUF_ALLOC / 4;

/// What both sides of one connection know of each other's room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credit {
    /// The guest's room in all, and what has left it: what it says, which may be a lie.
    guest_buf_alloc: u32,
    guest_fwd_cnt: u32,
    /// Data sent to the guest.
    sent: u32,
    /// Data that came from the guest.
    received: u32,
    /// Of that, what the host's program has taken.
    forwarded: u32,
    /// Of that, what the guest knows.
    told: u32,
}

impl Credit {
    /// Takes what a packet of the guest says.
    pub fn hear(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.guest_buf_alloc = buf_alloc;
        self.guest_fwd_cnt = fwd_cnt;
    }

    /// How much may be sent to the guest now.
    pub fn allowance(&self) -> u32 {
        // A guest that claims to have taken what was never sent has a negative backlog, which is a
        // huge one here: it gets nothing.
        self.guest_buf_alloc.saturating_sub(self.sent.wrapping_sub(self.guest_fwd_cnt))
    }

    /// So much was sent to the guest.
    pub fn sent(&mut self, bytes: u32) {
        self.sent = self.sent.wrapping_add(bytes);
    }

    /// Takes data from the guest; `false` where it sends more than it may.
    #[must_use]
    pub fn receive(&mut self, bytes: u32) -> bool {
        let room = BUF_ALLOC.saturating_sub(self.received.wrapping_sub(self.forwarded));
        self.received = self.received.wrapping_add(bytes);
        bytes <= room
    }

    /// The host's program has taken so much.
    pub fn forward(&mut self, bytes: u32) {
        self.forwarded = self.forwarded.wrapping_add(bytes);
    }

    /// Whether the guest should be told of free room. It never starves: it knows of no room only
    /// when all of it is more than it knows of.
    pub fn is_worth_telling(&self) -> bool {
        self.forwarded.wrapping_sub(self.told) >= WORTH_TELLING
    }

    /// What a packet tells the guest: the room in all, and what has left it.
    pub fn tell(&mut self) -> (u32, u32) {
        self.told = self.forwarded;
        (BUF_ALLOC, self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_guest_gets_what_it_has_room_for() {
        let mut credit = Credit::default();
        assert_eq!(credit.allowance(), 0);
        credit.hear(100, 0);
        credit.sent(60);
        assert_eq!(credit.allowance(), 40);
        credit.hear(100, 60);
        assert_eq!(credit.allowance(), 100);
        credit.hear(50, 0);
        assert_eq!(credit.allowance(), 0, "it took room back");
    }

    #[test]
    fn a_guest_that_claims_to_have_taken_more_than_there_was_gets_nothing() {
        let mut credit = Credit::default();
        credit.hear(1000, 1);
        assert_eq!(credit.allowance(), 0);
    }

    #[test]
    fn counters_wrap() {
        let mut credit =
            Credit { sent: u32::MAX - 9, guest_fwd_cnt: u32::MAX - 9, ..Credit::default() };
        credit.hear(100, u32::MAX - 9);
        credit.sent(20);
        assert_eq!(credit.allowance(), 80);
        credit.hear(100, 10);
        assert_eq!(credit.allowance(), 100);
    }

    proptest! {
        /// However a guest sends, as long as it obeys, nothing that it may send is refused, what
        /// waits has a bound, and it learns of room before it starves.
        #[test]
        fn an_obedient_guest_is_never_refused(steps in prop::collection::vec((any::<u16>(), any::<u16>()), 1..200)) {
            let (mut credit, mut knows, mut sent, mut waiting) = (Credit::default(), 0_u32, 0_u32, 0_u32);
            for (send, take) in steps {
                let room = BUF_ALLOC - sent.wrapping_sub(knows);
                let bytes = u32::from(send).min(room);
                prop_assert!(credit.receive(bytes));
                sent = sent.wrapping_add(bytes);
                waiting += bytes;
                prop_assert!(waiting <= BUF_ALLOC);
                let taken = u32::from(take).min(waiting);
                waiting -= taken;
                credit.forward(taken);
                if credit.is_worth_telling() {
                    knows = credit.tell().1;
                }
                if waiting == 0 {
                    prop_assert!(BUF_ALLOC - sent.wrapping_sub(knows) > 0, "it starves");
                }
            }
        }
    }
}
