//! What attempts have in common.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};

/// A proof that it got out, or what held it.
pub(crate) type Got = io::Result<String>;

pub(crate) fn held(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

/// The result of a system call.
pub(crate) fn called(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn text(string: &str) -> CString {
    CString::new(string).unwrap()
}

/// What is known of the outside.
pub(crate) fn fact(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} was not told"))
}

/// The same as a number.
pub(crate) fn number<N: std::str::FromStr>(name: &str) -> N {
    let text = fact(name);
    text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
}

/// Whether this is what is in the marker.
pub(crate) fn is_marker(content: &[u8]) -> io::Result<()> {
    let right = content.starts_with(super::facts::CONTENT.as_bytes());
    if right { Ok(()) } else { Err(held("something else was there")) }
}

/// Reads the marker under this name.
pub(crate) fn read_marker(path: &str) -> Got {
    is_marker(&fs::read(path)?)?;
    Ok(format!("read {path}"))
}

/// Writes to a switch of the kernel's what it says already: "always [madvise]" is madvise.
pub(crate) fn write_back(path: &str) -> Got {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut content = String::new();
    file.read_to_string(&mut content)?;
    let chosen = content.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    file.write_all(chosen.map_or(content.as_str(), |(chosen, _)| chosen).as_bytes())?;
    Ok(format!("{path} was written to"))
}

/// What the first gets that gets anything, or what held the last.
pub(crate) fn any<T, R>(
    all: impl IntoIterator<Item = T>,
    attempt: impl Fn(T) -> io::Result<R>,
) -> io::Result<R> {
    let mut last = held("there was nothing to try");
    for one in all {
        match attempt(one) {
            Err(error) => last = error,
            got => return got,
        }
    }
    Err(last)
}

pub(crate) fn host_name() -> String {
    let mut buffer = [0_u8; 65];
    unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len()) };
    std::ffi::CStr::from_bytes_until_nul(&buffer).unwrap().to_string_lossy().into_owned()
}
