//! Both engines do the same.

use super::*;
use crate::vm::devices::virtio::block::engine::Operation;
use std::fs::File;

const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;

/// Runs the operation, to its end.
fn run(engine: &mut dyn Engine, operation: Operation<'_>) -> i64 {
    // SAFETY: the buffers outlive the wait for the result.
    unsafe { engine.submit(7, operation) };
    engine.commit();
    let mut done = Vec::new();
    while done.is_empty() {
        engine.wait();
        engine.reap(&mut done);
    }
    assert_eq!((done.len(), done[0].token), (1, 7));
    done[0].result
}

fn iovec(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

#[test]
fn both_engines_give_the_same_results() {
    for kind in [DiskEngine::IoUring, DiskEngine::Threads] {
        if kind == DiskEngine::IoUring && uring::probe().is_err() {
            eprintln!("SKIPPED: no io_uring here");
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        File::create(&path).unwrap().set_len(0x10000).unwrap();
        let backing = Arc::new(Backing::open(&path, false).unwrap());
        let mut engine = start(kind, backing, 4).unwrap();
        let (mut first, mut second) = (vec![1; 512], vec![2; 1024]);
        let iovecs = [iovec(&mut first), iovec(&mut second)];
        for durable in [false, true] {
            let write = Operation::Write { iovecs: &iovecs, offset: 0x1000, durable };
            assert_eq!(run(&mut *engine, write), 1536, "{kind}");
        }
        assert_eq!(run(&mut *engine, Operation::Flush), 0);
        let mut read = vec![9; 2048];
        let into = [iovec(&mut read)];
        let got = run(&mut *engine, Operation::Read { iovecs: &into, offset: 0x1000 });
        assert_eq!((got, &read[..3]), (2048, &[1, 1, 1][..]));
        assert!(read[512..1536].iter().all(|byte| *byte == 2));
        // At the end a read is short, behind it empty.
        assert_eq!(run(&mut *engine, Operation::Read { iovecs: &into, offset: 0xFE00 }), 512);
        assert_eq!(run(&mut *engine, Operation::Read { iovecs: &into, offset: 0x20000 }), 0);
        let hole = Operation::Allocate { mode: PUNCH, offset: 0x1000, length: 0x1000 };
        assert_eq!(run(&mut *engine, hole), 0);
        assert_eq!(run(&mut *engine, Operation::Read { iovecs: &into, offset: 0x1000 }), 2048);
        assert!(read.iter().all(|byte| *byte == 0));
        let nonsense = Operation::Allocate { mode: 0x4000, offset: 0, length: 1 };
        assert_eq!(run(&mut *engine, nonsense), -i64::from(libc::EOPNOTSUPP));
        let nowhere = [libc::iovec { iov_base: 8 as *mut _, iov_len: 512 }];
        let read = Operation::Read { iovecs: &nowhere, offset: 0 };
        assert_eq!(run(&mut *engine, read), -i64::from(libc::EFAULT));
    }
}
