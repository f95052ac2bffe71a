//! The client side of the Lua debugger: `--ldb`, or `SCRIPT DEBUG` before an `EVAL` at the prompt.
//!
//! The `EVAL` begins a session. Commands then go to the server's debugger, and each reply is an array of lines,
//! coloured by their kind. The line `<endsession>` ends the session. The script's reply follows it, and the server
//! closes the connection.

use super::state::is;

/// The line that ends a session.
const END: &[u8] = b"<endsession>";

/// Where the server runs the script, and so whether its writes persist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In a forked process: its writes are discarded when the session ends.
    Forked,
    /// In the server itself: its writes stay.
    Sync,
}

impl Mode {
    /// Returns the argument of `SCRIPT DEBUG`.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Forked => "yes",
            Mode::Sync => "sync",
        }
    }
}

/// The debugging state of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Debugger {
    /// Scripts run to their end.
    #[default]
    Off,
    /// `SCRIPT DEBUG` was sent: the next `EVAL` begins a session.
    Wanted(Mode),
    /// In a session.
    On(Mode),
    /// A session is over, but the script's reply has not been received yet.
    Ended(Mode),
}

impl Debugger {
    /// Updates the state for a command about to be sent. Returns whether it begins a session.
    pub fn sends(&mut self, words: &[Vec<u8>]) -> bool {
        match (*self, words) {
            (Debugger::Off | Debugger::Wanted(_), [script, debug, mode])
                if is(script, "script") && is(debug, "debug") =>
            {
                let wanted = [Mode::Forked, Mode::Sync].into_iter().find(|wanted| is(mode, wanted.word()));
                *self = wanted.map_or(Debugger::Off, Debugger::Wanted);
                false
            }
            (Debugger::Wanted(mode), [eval, ..]) if is(eval, "eval") => {
                *self = Debugger::On(mode);
                true
            }
            _ => false,
        }
    }

    /// Whether commands go to the debugger.
    pub fn is_on(self) -> bool {
        matches!(self, Debugger::On(_))
    }

    /// Updates the state for a line of a reply. Returns whether it ends the session.
    pub fn ends(&mut self, line: &[u8]) -> bool {
        match *self {
            Debugger::On(mode) if line.starts_with(END) => {
                *self = Debugger::Ended(mode);
                true
            }
            _ => false,
        }
    }

    /// Returns the mode of a session that has just ended, and switches debugging off.
    pub fn take_end(&mut self) -> Option<Mode> {
        match *self {
            Debugger::Ended(mode) => {
                *self = Debugger::Off;
                Some(mode)
            }
            _ => None,
        }
    }
}

/// Parses a line that makes the debugger evaluate code: the code is one word, quotes included.
pub fn evaluation(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let code = |name: &str| line.strip_prefix(name.as_bytes())?.strip_prefix(b" ");
    ["e", "eval"].into_iter().find_map(|name| Some(vec![name.into(), code(name)?.to_vec()]))
}

/// The colour of a line that contains a mark. If it contains several, the last matching row counts.
const COLOURS: [(&str, &str); 7] = [
    ("<debug>", "1;37"),
    ("<redis>", "0;32"),
    ("<reply>", "0;36"),
    ("<error>", "0;31"),
    ("<hint>", "1;37"),
    ("<value>", "0;35"),
    ("<retval>", "0;35"),
];

/// The SGR parameters of a line's colour. The marks for the current line and for a breakpoint colour a source line.
pub fn colour(line: &[u8]) -> &'static str {
    match line {
        [_, b'>', _, b'0'..=b'9', _, ..] => "0;33",
        [_, _, b'#', b'0'..=b'9', _, ..] => "1;37",
        line => COLOURS
            .iter()
            .rev()
            .find(|(mark, _)| memchr::memmem::find(line, mark.as_bytes()).is_some())
            .map_or("0;37", |(_, colour)| colour),
    }
}

/// Whether lines are coloured. As in redis-cli this depends on `TERM` only, so they may be coloured in a pipe.
pub fn has_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("TERM").is_some_and(|name| name.to_string_lossy().contains("xterm")) && set("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_session_begins_with_an_eval_and_ends_with_endsession() {
        let mut debugger = Debugger::default();
        assert!(!debugger.sends(&words("eval return 0")));
        for (line, wanted) in [
            ("SCRIPT DEBUG SYNC", Debugger::Wanted(Mode::Sync)),
            ("script debug no", Debugger::Off),
            ("script debug yes", Debugger::Wanted(Mode::Forked)),
        ] {
            assert!(!debugger.sends(&words(line)));
            assert_eq!(debugger, wanted);
        }
        assert!(!debugger.sends(&words("evalsha 00 0")));
        assert!(debugger.sends(&words("Eval return 0")) && debugger.is_on());
        assert!(!debugger.sends(&words("script debug no")) && debugger.is_on());
        assert!(!debugger.ends(b"<reply> <endsession>") && debugger.take_end().is_none());
        assert!(debugger.ends(b"<endsession>") && !debugger.is_on());
        assert_eq!((debugger.take_end(), debugger.take_end()), (Some(Mode::Forked), None));
    }

    #[test]
    fn code_to_evaluate_is_taken_as_it_was_typed() {
        for (line, wanted) in [
            ("e return \"x  y\" ", Some(["e", "return \"x  y\" "])),
            ("eval 'x", Some(["eval", "'x"])),
            ("e ", Some(["e", ""])),
            ("e  1", Some(["e", " 1"])),
            ("e", None),
            ("E 1", None),
            (" e 1", None),
            ("evalx 1", None),
            ("e\t1", None),
        ] {
            let wanted = wanted.map(|words| words.map(|word| word.as_bytes().to_vec()).to_vec());
            assert_eq!(evaluation(line.as_bytes()), wanted, "{line}");
        }
    }

    #[test]
    fn a_line_has_the_colour_of_its_kind() {
        for (line, wanted) in [
            ("* Stopped at 1, stop reason = step over", "0;37"),
            ("-> 1   local x", "0;33"),
            ("->#3   return '<error>'", "0;33"),
            ("  #3   redis.debug('here')", "1;37"),
            ("   4   return", "0;37"),
            ("<redis> incr a", "0;32"),
            ("<reply> \"<value>\"", "0;35"),
            ("<reply> 1", "0;36"),
            ("<error> no", "0;31"),
            ("<retval> nil", "0;35"),
            ("<debug> line 3: 2", "1;37"),
            ("", "0;37"),
        ] {
            assert_eq!(colour(line.as_bytes()), wanted, "{line}");
        }
    }
}
