//! Asking for a password: at a terminal without showing what is typed, else a line of standard input.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::password::LONGEST;

/// What Ctrl-C sends while it is not made a signal.
const INTERRUPT: u8 = 3;

/// Gives the terminal back as it was, however reading ends.
struct Silent(Termios);

impl Silent {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        // Without signals: one would end perch and leave the terminal mute. Ctrl-C ends the line instead.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        let _ = writeln!(io::stderr());
    }
}

/// A new password: asked for twice at a terminal, read once from a pipe.
///
/// # Errors
/// When there is none, the two differ, or Ctrl-C was pressed.
pub fn new_password(of_whom: &str) -> io::Result<String> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let ask = |words: &str| -> io::Result<String> {
        write!(io::stderr(), "{words}: ")?;
        let _silent = Silent::begin()?;
        line()
    };
    let password = ask(&format!("New password of the {of_whom}"))?;
    match ask("Again")? == password {
        true => Ok(password),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "the two passwords differ: nothing was changed")),
    }
}

fn line() -> io::Result<String> {
    let mut bytes = Vec::new();
    // A little more than may be, so that too much is noticed.
    for byte in io::stdin().lock().bytes().take(LONGEST + 3) {
        match byte? {
            b'\n' => break,
            INTERRUPT => return Err(io::Error::new(io::ErrorKind::Interrupted, "nothing was changed")),
            byte => bytes.push(byte),
        }
    }
    let line = String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the password is not UTF-8 text"))?;
    Ok(line.strip_suffix('\r').unwrap_or(&line).to_owned())
}
