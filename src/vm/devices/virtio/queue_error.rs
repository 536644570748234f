//! What breaks a queue.

use thiserror::Error;

/// What a driver did wrong with a queue. It breaks the queue: the device needs a reset.
#[derive(Debug, Error)]
pub enum QueueError {
    /// A size that no queue has.
    #[error("its size is {0}, which is no power of two from 1 to {1}")]
    Size(u32, u16),
    /// A ring where no driver may put one.
    #[error("{0} at {1:#x} is not aligned")]
    Misaligned(&'static str, u64),
    /// A ring or table where the guest has no memory.
    #[error("{0} at {1:#x} does not lie in memory altogether")]
    Outside(&'static str, u64),
    /// More available than there are descriptors, a ring at zero, or the like.
    #[error("its rings are broken: {0}")]
    Ring(#[from] virtio_queue::Error),
    /// A link, or the available ring, that leads out of the table.
    #[error("descriptor {0} is not in the table of {1}")]
    NoSuchDescriptor(u32, u32),
    /// More descriptors than the table has.
    #[error("the chain at {0} loops")]
    Loop(u16),
    /// More than 4 GiB.
    #[error("the chain at {0} has more than 4 GiB")]
    TooManyBytes(u16),
    /// A buffer to read behind one to write.
    #[error("the chain at {0} has a readable buffer after a writable one")]
    Order(u16),
    /// A table in a table.
    #[error("the chain at {0} has an indirect table in an indirect table")]
    NestedIndirect(u16),
    /// A table and a next descriptor.
    #[error("the chain at {0} goes on after its indirect table")]
    IndirectWithNext(u16),
    /// A table of no or too many descriptors, or of a part of one.
    #[error("the chain at {0} has an indirect table of {1} bytes")]
    IndirectSize(u16, u32),
    /// A table although the driver did not accept the feature.
    #[error("the chain at {0} has an indirect table, which was not negotiated")]
    IndirectNotNegotiated(u16),
    /// Not the driver's doing: the machine is about to end.
    #[error("a file that the guest's memory is mapped from was cut off")]
    MemoryLost,
    /// What the device must answer has no place in the chain.
    #[error("the chain at {0} has no room for the answer")]
    NoRoom(u16),
}
