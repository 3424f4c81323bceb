//! Ports that nobody else takes, also not a suite that runs at the same time.
//!
//! A port from the kernel (bind to 0, close, use) may be given away again before the node binds it,
//! most easily to an outgoing connection while the node is down in the middle of a test. So ports
//! come from below the range of outgoing connections, in blocks that are held by a file lock for as
//! long as the test runs.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;

const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;
const BLOCK: u16 = 10;

/// Up to ten consecutive free ports.
pub struct Ports {
    base: u16,
    _held: File,
}

impl Ports {
    pub fn take() -> Self {
        let dir: PathBuf = std::env::temp_dir().join("bitacora-test-ports");
        std::fs::create_dir_all(&dir).unwrap();
        let blocks = (LAST - FIRST) / BLOCK;
        let start: u16 = rand::random_range(0..blocks);
        for at in 0..blocks {
            let base = FIRST + (start + at) % blocks * BLOCK;
            let file = File::create(dir.join(base.to_string())).unwrap();
            if file.try_lock().is_ok() && (base..base + BLOCK).all(is_free) {
                return Self { base, _held: file };
            }
        }
        panic!("no block of {BLOCK} free ports from {FIRST} to {LAST}");
    }

    pub fn at(&self, place: usize) -> u16 {
        let place = u16::try_from(place).unwrap();
        assert!(place < BLOCK);
        self.base + place
    }
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
