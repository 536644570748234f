//! The outside: what attempts are after.

use std::fs::{self, File, Permissions};
use std::io::{IoSlice, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::thread;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::facts::{self, CONTENT};
use super::shared::key;
use super::system::{host_name, text};

/// Makes it all, says what there is, and keeps it until the input ends.
pub(crate) fn live(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    let marker = directory.join("marker");
    fs::write(&marker, CONTENT).unwrap();
    fs::set_permissions(&marker, Permissions::from_mode(0o644)).unwrap();
    let mut random = [0; 8];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    let name = format!("escape-{:016x}", u64::from_ne_bytes(random));
    let memory = format!("/dev/shm/{name}");
    let shared = Shared::make(&name, &memory);
    let said = [
        (facts::MARKER, marker.display().to_string()),
        (facts::HANDLE, handle(&marker)),
        (facts::SOCKET, name.clone()),
        (facts::PORT, listen_at_loopback().to_string()),
        (facts::INTERFACE, interface()),
        (facts::DISK, disk()),
        (facts::PID, std::process::id().to_string()),
        (facts::ADDRESS, CONTENT.as_ptr().addr().to_string()),
        (facts::HOST, host_name()),
        (facts::NAME, name.clone()),
    ];
    help_at_socket(&name, directory);
    for (fact, value) in said {
        println!("{fact}={value}");
    }
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    shared.remove();
}

/// What goes by names. A kernel that lacks some of it has less to attack.
struct Shared<'a> {
    name: &'a str,
    memory: &'a str,
    segment: i32,
}

impl<'a> Shared<'a> {
    fn make(name: &'a str, memory: &'a str) -> Self {
        let _ = fs::write(memory, CONTENT);
        let segment = unsafe { libc::shmget(key(name), 4096, libc::IPC_CREAT | 0o644) };
        if segment >= 0 {
            unsafe {
                let start = libc::shmat(segment, std::ptr::null(), 0).cast::<u8>();
                start.copy_from_nonoverlapping(CONTENT.as_ptr(), CONTENT.len());
            }
        }
        let queue = text(&format!("/{name}"));
        let none = std::ptr::null::<libc::mq_attr>();
        let flags = libc::O_CREAT | libc::O_RDWR;
        unsafe { libc::mq_open(queue.as_ptr(), flags, 0o644, none) };
        plant_key(name);
        Self { name, memory, segment }
    }

    fn remove(&self) {
        let _ = fs::remove_file(self.memory);
        let queue = text(&format!("/{}", self.name));
        unsafe {
            libc::mq_unlink(queue.as_ptr());
            libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut());
        }
    }
}

/// In this user's keyring, for ten minutes. Whoever may have none has none.
fn plant_key(name: &str) {
    const USERS: libc::c_int = -4;
    const SET_TIMEOUT: libc::c_int = 15;
    let (name, content) = (text(name), text(CONTENT));
    unsafe {
        let kind = c"user".as_ptr();
        let length = CONTENT.len();
        let key =
            libc::syscall(libc::SYS_add_key, kind, name.as_ptr(), content.as_ptr(), length, USERS);
        libc::syscall(libc::SYS_keyctl, SET_TIMEOUT, key, 600);
    }
}

/// Whoever connects is told [`CONTENT`]; returns the port.
fn listen_at_loopback() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.unwrap().write_all(CONTENT.as_bytes());
        }
    });
    port
}

/// Whoever connects is handed a descriptor of the directory.
fn help_at_socket(name: &str, directory: &Path) {
    let directory = File::open(directory).unwrap();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let passed = [directory.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&passed)];
            let data = [IoSlice::new(b".")];
            let socket = connection.unwrap();
            let flags = MsgFlags::MSG_NOSIGNAL;
            let _ = sendmsg::<()>(socket.as_raw_fd(), &data, &rights, flags, None);
        }
    });
}

/// A file's handle, as `struct file_handle` has it, name_to_handle_at(2).
fn handle(file: &Path) -> String {
    const MOST: u32 = 128;
    let mut handle = [0_u8; 8 + MOST as usize];
    handle[..4].copy_from_slice(&MOST.to_ne_bytes());
    let path = std::ffi::CString::new(file.as_os_str().as_bytes()).unwrap();
    let mut mount = 0;
    let made = unsafe {
        let (handle, mount) = (handle.as_mut_ptr(), &raw mut mount);
        libc::syscall(libc::SYS_name_to_handle_at, libc::AT_FDCWD, path.as_ptr(), handle, mount, 0)
    };
    if made < 0 {
        return String::new();
    }
    let length = u32::from_ne_bytes(handle[..4].try_into().unwrap()) as usize;
    handle[..8 + length].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Any network interface but loopback.
fn interface() -> String {
    let all = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names = all.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| name != "lo").unwrap_or("none".into())
}

/// Of any disk the device number.
fn disk() -> String {
    let all = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut disks = all.filter(|entry| entry.path().join("device").exists());
    let number = disks.next().and_then(|disk| fs::read_to_string(disk.path().join("dev")).ok());
    number.map_or("0:0".into(), |number| number.trim().to_owned())
}
