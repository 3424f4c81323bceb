//! Files. The door to `std::fs` for everything that a node keeps.
//!
//! `write_at` is not durable; [`DiskFile::sync_data`] is. A new or renamed name is durable only
//! after [`Disk::sync_dir`]. Whoever gets an error from a write or a sync must not try again: the
//! kernel may have dropped the pages (see `wal`, invariant W3).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// What to do when a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// It must exist; reading only.
    Read,
    /// It must exist; reading and writing.
    Write,
    /// It must not exist; reading and writing.
    CreateNew,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still use.
    pub free: u64,
    /// All there are.
    pub size: u64,
}

/// What the file system says of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    /// Length in bytes.
    pub length: u64,
    /// When it was last written, in milliseconds since 1970; 0 if that is not known.
    pub written_unix_ms: u64,
}

/// The files of one node.
pub trait Disk: Send + Sync + 'static {
    /// Creates a directory and its parents; no error if it is there.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Names of the plain files in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what was there. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// How full the file system of a directory is.
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// What the file system says of a file.
    fn about(&self, path: &Path) -> io::Result<About>;
    /// Takes the directory for this process alone until the guard is dropped.
    /// `WouldBlock` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`. Not durable.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written to this file durable, with what is needed to read it again.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads exactly `length` bytes from `offset`, or says that the file ends before.
pub fn read_exact_at(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let read = file.read_at(&mut buffer, offset)?;
    if read < length {
        let why = format!("wanted {length} bytes at {offset}, the file had {read}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    Ok(buffer)
}

/// Puts a small file in place so that after a crash either the old or the new one is there:
/// temporary file, sync, rename, sync of the directory.
pub fn replace_file(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&temporary, Open::CreateNew)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// Opens a file to write at its end, making it if need be: what a command prints for people, never
/// what a node keeps.
pub fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// All bytes of a file that a person named; pipes too.
pub fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The machine's file system.
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read).create_new(how == Open::CreateNew).mode(0o600);
        Ok(Arc::new(SystemFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { free: bytes(found.f_bavail), size: bytes(found.f_blocks) })
    }

    fn about(&self, path: &Path) -> io::Result<About> {
        let found = std::fs::metadata(path)?;
        let written = found.modified().ok();
        let since = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Ok(About { length: found.len(), written_unix_ms: ms })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

struct SystemFile(File);

impl DiskFile for SystemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_the_new_bytes_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        replace_file(&SystemDisk, dir.path(), "identity", b"old and longer").unwrap();
        replace_file(&SystemDisk, dir.path(), "identity", b"new").unwrap();
        assert_eq!(SystemDisk.list(dir.path()).unwrap(), ["identity"]);
        let file = SystemDisk.open(&dir.path().join("identity"), Open::Read).unwrap();
        assert_eq!(read_exact_at(&*file, 0, 3).unwrap(), b"new");
        assert_eq!(file.len().unwrap(), 3);
    }

    #[test]
    fn a_file_system_and_a_file_say_how_large_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let space = SystemDisk.space(dir.path()).unwrap();
        assert!(space.size > 0 && space.free <= space.size, "{space:?}");
        replace_file(&SystemDisk, dir.path(), "file", b"twelve bytes").unwrap();
        let about = SystemDisk.about(&dir.path().join("file")).unwrap();
        assert_eq!(about.length, 12);
        assert!(about.written_unix_ms > 1_600_000_000_000, "{about:?}");
    }

    #[test]
    fn a_directory_is_locked_for_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let guard = SystemDisk.lock(&path).unwrap();
        let refused = SystemDisk.lock(&path).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(guard);
        assert!(SystemDisk.lock(&path).is_ok());
    }
}
