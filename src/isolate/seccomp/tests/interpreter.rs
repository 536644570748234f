//! Runs a filter as the kernel would.

pub(super) struct Run {
    pub(super) answer: u32,
    pub(super) steps: usize,
}

pub(super) fn run(program: &[libc::sock_filter], number: u32, arguments: [u64; 6]) -> Run {
    let mut data = vec![number, 0xc000_003e, 0, 0];
    data.extend(arguments.iter().flat_map(|&a| [(a & 0xffff_ffff) as u32, (a >> 32) as u32]));
    let (mut accumulator, mut next, mut steps) = (0, 0, 0);
    loop {
        let libc::sock_filter { code, jt, jf, k } = program[next];
        (next, steps) = (next + 1, steps + 1);
        let mut branch = |met: bool| next += usize::from(if met { jt } else { jf });
        match code {
            0x20 => accumulator = data[k as usize / 4],
            0x15 => branch(accumulator == k),
            0x35 => branch(accumulator >= k),
            0x45 => branch(accumulator & k != 0),
            0x05 => next += k as usize,
            0x06 => return Run { answer: k, steps },
            _ => panic!("code {code:#x}"),
        }
    }
}
