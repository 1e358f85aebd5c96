//! `auth.json` on disk: written whole or not at all, with a second copy for the day the first is broken.
//!
//! Both copies hold the same, so that a broken file brings back neither an old password nor a revoked token. What is
//! neither readable nor absent is an error: a door whose lock cannot be read stays shut. The command line and the
//! server may write at the same time; a lock file keeps them apart.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::state::State;

const FILE: &str = "auth.json";
const COPY: &str = "auth.json.copy";
const LOCK: &str = "auth.lock";
/// Larger files are not read.
const MAX_BYTES: u64 = 1 << 20;

/// The folder that the files are in.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// What tells one content of the file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

enum Content {
    Good(State),
    Absent,
    Broken(String),
}

impl Store {
    /// Files in `folder`, which is made with the first write.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What is kept; nothing was ever kept when both copies are absent.
    ///
    /// # Errors
    /// When there is something and none of it can be read; in words.
    pub fn load(&self) -> Result<State, String> {
        match (read(&self.folder.join(FILE)), read(&self.folder.join(COPY))) {
            (Content::Good(state), _) => Ok(state),
            (Content::Absent, Content::Absent) => Ok(State::default()),
            (first, Content::Good(state)) => {
                let why = if let Content::Broken(why) = first { why } else { "is missing".into() };
                log::warn!("{} {why}: its copy is used", self.path().display());
                Ok(state)
            }
            (Content::Broken(why), _) => Err(format!("{} {why}", self.path().display())),
            (Content::Absent, Content::Broken(why)) => Err(format!("{} {why}", self.folder.join(COPY).display())),
        }
    }

    /// What the file is now; changes with every write.
    #[must_use]
    pub fn stamp(&self) -> Option<Stamp> {
        let found = fs::metadata(self.path()).ok()?;
        Some(Stamp { inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()), length: found.len() })
    }

    /// Keeps other processes from writing until the file that is returned is dropped.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn lock(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.folder.join(LOCK))?;
        self.hand_over(&lock)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    /// Writes `state`, to stay after a power cut.
    ///
    /// # Errors
    /// When the folder cannot be written to; then the file is as it was.
    pub fn save(&self, state: &State) -> io::Result<()> {
        let bytes = state.to_bytes();
        self.write(FILE, &bytes)?;
        if let Err(error) = self.write(COPY, &bytes) {
            // An old copy would bring back what was taken away.
            let _ = fs::remove_file(self.folder.join(COPY));
            log::warn!("there is no second copy of {}: {error}", self.path().display());
        }
        Ok(())
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        for name in [COPY, FILE] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match File::open(&self.folder) {
            Ok(folder) => folder.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.folder.join(format!(".{name}.new"));
        // One that a power cut left behind.
        let _ = fs::remove_file(&temporary);
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
                self.hand_over(&file)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&temporary, self.folder.join(name))?;
                File::open(&self.folder)?.sync_all()
            });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Gives what root writes to whom the folder belongs to: the service must be able to read it.
    fn hand_over(&self, file: &File) -> io::Result<()> {
        if rustix::process::geteuid().is_root() {
            let folder = fs::metadata(&self.folder)?;
            std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Content {
    let mut bytes = Vec::new();
    let found = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Absent,
        Err(error) => Content::Broken(format!("cannot be read: {error}")),
        Ok(_) if bytes.len() as u64 > MAX_BYTES => Content::Broken("is larger than 1 MiB".into()),
        Ok(_) => match State::parse(&bytes) {
            Ok(state) => Content::Good(state),
            Err(why) => Content::Broken(format!("is {why}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use std::os::unix::fs::PermissionsExt as _;

    struct Folder(Store);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("perch-auth-{:016x}", rand::random::<u64>()));
            Self(Store::new(&path.join("not/there/yet")))
        }
        fn file(&self, name: &str) -> PathBuf {
            self.0.folder.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.folder.ancestors().nth(3).unwrap());
        }
    }

    fn owned(hash: &str) -> State {
        let mut state = State::default();
        state.set_password(Role::Owner, hash.into());
        state
    }

    fn save(folder: &Folder, state: &State) {
        let _lock = folder.0.lock().unwrap();
        folder.0.save(state).unwrap();
    }

    #[test]
    fn what_is_saved_is_there_after_a_restart_and_for_nobody_else_to_read() {
        let folder = Folder::new();
        assert_eq!(folder.0.load(), Ok(State::default()));
        save(&folder, &owned("a"));
        assert_eq!(folder.0.load(), Ok(owned("a")));
        for name in [FILE, COPY, LOCK] {
            assert_eq!(fs::metadata(folder.file(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::metadata(&folder.0.folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&folder.0.folder).unwrap().count(), 3, "no temporary file stays");
    }

    #[test]
    fn the_copy_is_used_when_the_file_is_broken_or_gone_and_holds_nothing_old() {
        let folder = Folder::new();
        save(&folder, &owned("old"));
        save(&folder, &owned("new"));
        fs::write(folder.file(FILE), "{ broken").unwrap();
        assert_eq!(folder.0.load(), Ok(owned("new")));
        fs::remove_file(folder.file(FILE)).unwrap();
        assert_eq!(folder.0.load(), Ok(owned("new")));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_an_open_door() {
        let folder = Folder::new();
        save(&folder, &owned("a"));
        for broken in ["", "{}", "\0\0\0\0"] {
            fs::write(folder.file(FILE), broken).unwrap();
            fs::write(folder.file(COPY), broken).unwrap();
            assert!(folder.0.load().unwrap_err().contains("auth.json"), "{broken:?}");
        }
        fs::remove_file(folder.file(FILE)).unwrap();
        assert!(folder.0.load().is_err(), "the copy alone is broken");
        fs::remove_file(folder.file(COPY)).unwrap();
        fs::create_dir(folder.file(FILE)).unwrap();
        assert!(folder.0.load().is_err(), "a folder is no file");
    }

    #[test]
    fn every_write_changes_the_stamp() {
        let folder = Folder::new();
        let mut stamps = vec![folder.0.stamp()];
        for hash in ["a", "b", "c"] {
            save(&folder, &owned(hash));
            stamps.push(folder.0.stamp());
        }
        assert!(stamps.windows(2).all(|pair| pair[0] != pair[1]), "{stamps:?}");
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was() {
        let folder = Folder::new();
        save(&folder, &owned("a"));
        // A folder in the temporary file's place, as good as a full disk, for root too.
        fs::create_dir(folder.file(".auth.json.new")).unwrap();
        assert!(folder.0.save(&owned("b")).is_err());
        assert_eq!(folder.0.load(), Ok(owned("a")));
    }

    #[test]
    fn clearing_forgets_both_copies() {
        let folder = Folder::new();
        folder.0.clear().unwrap();
        save(&folder, &owned("a"));
        folder.0.clear().unwrap();
        assert_eq!(folder.0.load(), Ok(State::default()));
    }
}
