//! What perch asks of the appliance, which it may not do itself: to start again, and to forget everything.
//!
//! A wish is a file in a folder that the image's own units look into, as root (`perch-wish.path`). Elsewhere there is no such
//! folder, and nobody is asked.

use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Something to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The machine starts again.
    Reboot,
    /// The machine starts again, as if it were new.
    FactoryReset,
}

impl Wish {
    const fn file(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::FactoryReset => "factory-reset",
        }
    }
}

/// Where wishes go.
#[derive(Clone, Debug)]
pub struct Wishes(PathBuf);

impl Wishes {
    /// In this folder.
    #[must_use]
    pub const fn in_folder(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Asks for it. It comes true, or not, after this has returned.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub fn ask(&self, wish: Wish) -> io::Result<()> {
        File::create(self.0.join(wish.file())).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_file_of_its_name() {
        let folder = std::env::temp_dir().join(format!("perch-wishes-{}", std::process::id()));
        let wishes = Wishes::in_folder(folder.clone());
        assert!(wishes.ask(Wish::Reboot).is_err(), "there is no such folder");
        std::fs::create_dir(&folder).unwrap();
        for (wish, file) in [(Wish::Reboot, "reboot"), (Wish::FactoryReset, "factory-reset")] {
            wishes.ask(wish).unwrap();
            wishes.ask(wish).unwrap();
            assert!(folder.join(file).exists());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
