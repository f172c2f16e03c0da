//! The two files of an authority while it is being replaced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::{Authority, Error};
use crate::private_file::{self, Staged};

/// The widest modes that the files keep. Certificates are no secret; the key may be its group's, for a master that reads it by that.
const CERTIFICATES_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o640;

/// Certificates and key of an authority, held: as long as this lives, nobody else who asks for them gets them.
#[derive(Debug)]
pub struct Files {
    certificates: PathBuf,
    key: PathBuf,
    _lock: File,
}

impl Files {
    /// Takes hold of the files, by a lock on a file beside the certificates. Symbolic links are followed: what they lead to is replaced.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody else has them.
    pub fn lock(certificates: &Path, key: &Path) -> Result<Self, Error> {
        let certificates = fs::canonicalize(certificates).map_err(failed("read", certificates))?;
        let key = fs::canonicalize(key).map_err(failed("read", key))?;
        if certificates == key {
            return Err(Error::OneFile(key));
        }
        let mut name = certificates.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let place = certificates.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&place).map_err(failed("open", &place))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy(place)),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &place)(source).into()),
        }
        // It stays. If root has made it, the files' owner is to get at it as well; for all others it is theirs already.
        if let Ok(present) = fs::metadata(&certificates) {
            fchown(&lock, Some(present.uid()), Some(present.gid())).ok();
        }
        Ok(Self {
            certificates,
            key,
            _lock: lock,
        })
    }

    /// Where the certificates are.
    pub fn certificates(&self) -> &Path {
        &self.certificates
    }

    /// Where the key is.
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Reads the authority.
    pub fn read(&self) -> Result<Authority, Error> {
        let key = SecretString::from(private_file::read_existing(&self.key)?);
        Authority::load(&private_file::read_existing(&self.certificates)?, &key)
    }

    /// Writes another authority over the one before it, and reads it back. The certificates come first: the key of before is that of one of
    /// them, so that what a crash leaves is the authority of before, which trusts one more. Owners and modes stay as they are, except that
    /// nobody beyond owner and group may read the key.
    pub fn replace(&self, authority: &Authority) -> Result<(), Error> {
        let certificates = Staged::like_present(&self.certificates, authority.pem().as_bytes(), CERTIFICATES_MODE)?;
        let key = Staged::like_present(&self.key, authority.key.pem().expose_secret().as_bytes(), KEY_MODE)?;
        certificates.place()?;
        key.place()?;
        match self.read() {
            Ok(read) if read.pem() == authority.pem() && read.key.digest() == authority.key.digest() => Ok(()),
            Ok(_) => Err(Error::Changed("another one is in the files".to_owned())),
            Err(error) => Err(Error::Changed(error.to_string())),
        }
    }
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> private_file::Error + 'a {
    move |source| private_file::Error {
        action,
        path: path.to_owned(),
        source,
    }
}
