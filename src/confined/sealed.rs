//! Bytes in a file without a name that can no longer change: how work and its result pass between processes.
//!
//! Such a file is in the system's memory and not in the heap of this process: what is large is written and read in pieces,
//! and compiled code is mapped from it. The seals (memfd_create(2)) hold for every process that has the file open.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// A file in memory that nothing can change.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: File,
    length: u64,
}

/// A file in memory that is being written.
#[derive(Debug)]
pub(crate) struct Draft(File);

impl Draft {
    /// Begins an empty one.
    ///
    /// # Errors
    /// Fails if the system gives no such file.
    pub(crate) fn new() -> io::Result<Self> {
        file().map(Self)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Fails if the system does not seal it.
    pub(crate) fn seal(self) -> io::Result<Sealed> {
        Sealed::written(self.0)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sealed {
    /// With these bytes.
    ///
    /// # Errors
    /// Fails if the system gives no such file.
    pub(crate) fn of(bytes: &[u8]) -> io::Result<Self> {
        let mut draft = Draft::new()?;
        draft.write_all(bytes)?;
        draft.seal()
    }

    /// What was written to a file of [`file()`], by this process or another.
    pub(super) fn written(file: File) -> io::Result<Self> {
        fcntl_add_seals(
            &file,
            SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
        )?;
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }

    /// How many bytes it has.
    #[must_use]
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Hands all of it to `take`, a piece at a time.
    ///
    /// # Errors
    /// Fails if it cannot be read, or with the error of `take`.
    pub(crate) fn each(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < self.length {
            let read = self.file.read_at(&mut piece, at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            take(piece.get(..read).unwrap_or_default())?;
            at += read as u64;
        }
        Ok(())
    }

    /// All of it at once.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub(crate) fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// A path under which this process can open it.
    #[must_use]
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// The standard input of a process, from the beginning.
    pub(super) fn into_stdio(mut self) -> io::Result<Stdio> {
        self.file.rewind()?;
        Ok(Stdio::from(self.file))
    }
}

/// An empty file in memory that can be sealed.
pub(super) fn file() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        // Older than Linux 6.3.
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        made => made,
    };
    let named = |error: Errno| {
        let error = io::Error::from(error);
        let words = format!("cannot create a file in memory: {error}: the system must allow memfd_create");
        io::Error::new(error.kind(), words)
    };
    made.map(File::from).map_err(named)
}

const PIECE: usize = 64 << 10;
/// As wasmtime calls the files of its own with the memories of instances, which are mapped from it as well.
const NAME: &str = "wasm-memory-image";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_all_there_and_stays_as_it_is() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let sealed = Sealed::of(&bytes).unwrap();
        assert_eq!(sealed.length(), bytes.len() as u64);
        assert_eq!(sealed.to_vec().unwrap(), bytes);
        let mut pieces = Vec::new();
        let read = sealed.each(|piece| {
            pieces.extend_from_slice(piece);
            Ok(())
        });
        read.unwrap();
        assert_eq!(pieces, bytes);
        assert_eq!(std::fs::read(sealed.path()).unwrap(), bytes);
        assert!(sealed.file.write_at(b"x", 0).is_err(), "it can be written");
        assert!(sealed.file.set_len(1).is_err(), "it can be cut");
        let opened = File::options().write(true).open(sealed.path());
        assert!(opened.is_err() || opened.unwrap().write_at(b"x", 0).is_err());
    }
}
