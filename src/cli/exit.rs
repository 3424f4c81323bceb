//! How a command ends: the exit codes, which scripts rely on.
//!
//! Used by every verb. The numbers are a contract.
//!
//! # Not here
//! Which failure ends with which of them ([`super::failure`]).

use std::process::ExitCode;

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done as asked.
    Ok,
    /// 1: an error; if it was a write, it did not happen.
    Error,
    /// 2: it is not known whether the write happened.
    Unknown,
    /// 3: there is no such key.
    NotFound,
    /// 4: the write happened, but on fewer nodes than `--acks` asked for.
    Partial,
    /// 64: the command line is wrong; nothing was sent.
    Usage,
    /// 74: a data directory is damaged.
    Damaged,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Unknown => 2,
            Self::NotFound => 3,
            Self::Partial => 4,
            Self::Usage => 64,
            Self::Damaged => 74,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table shown by `--help`.
pub const HELP: &str = "\
Exit codes:
  0   done
  1   error; a write did not happen
  2   it is not known whether the write happened
  3   the key is not there
  4   the write happened, but on fewer nodes than --acks asked for
  64  the command line is wrong
  74  a data directory is damaged";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_in_the_help() {
        let all = [
            Exit::Ok,
            Exit::Error,
            Exit::Unknown,
            Exit::NotFound,
            Exit::Partial,
            Exit::Usage,
            Exit::Damaged,
        ];
        for exit in all {
            let begins = format!("  {} ", exit.code());
            assert!(HELP.lines().any(|line| line.starts_with(&begins)), "{exit:?}");
        }
    }
}
