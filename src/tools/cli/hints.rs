//! Hints for the rest of the line after the cursor, and completions of the word being typed.
//!
//! The complete words of a line are matched with the command's arguments, and the unmatched ones are the hint:
//!
//! ```text
//! set key value ex ▏seconds [NX|XX] [GET]
//! ```
//!
//! Adjacent optional arguments may come in any order. An argument that may be repeated takes words until one is the
//! token of a later argument. A line that does not match has no hint.

use super::docs::{Argument, Docs, Kind};
use crate::text::words;

/// The rest of an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest<'a> {
    /// All of it.
    Whole(&'a Argument),
    /// The part after its token.
    Value(&'a Argument),
    /// It was given and may be repeated.
    Again(&'a Argument),
}

impl Rest<'_> {
    fn show(self) -> String {
        match self {
            Rest::Whole(argument) => argument.show(),
            Rest::Value(argument) if argument.is_multiple => {
                format!("{} {}", argument.show_value(), argument.show_repeated())
            }
            Rest::Value(argument) => argument.show_value(),
            Rest::Again(argument) => argument.show_repeated(),
        }
    }
}

/// The result of matching one or more arguments with words.
enum Match<'a> {
    /// The first word does not belong to it.
    None,
    /// It took all words, and this is left of it.
    Open(Vec<Rest<'a>>),
    /// It is complete; contains the number of words taken.
    Done(usize),
}

/// A line being typed.
struct Line {
    /// The complete words: those with something after them.
    whole: Vec<Vec<u8>>,
    /// Where the last word begins.
    start: usize,
}

impl Line {
    /// Parses a line into words; `None` if a quote is open.
    fn parse(line: &str) -> Option<Line> {
        let is_whole = line.ends_with(char::is_whitespace);
        let start =
            if is_whole { line.len() } else { line.rfind(char::is_whitespace).map_or(0, |at| at + 1) };
        let mut whole = words::split(&line.as_bytes()[..start]).ok()?;
        // A leading number repeats the command.
        let is_number = |word: &Vec<u8>| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        if whole.first().is_some_and(is_number) {
            whole.remove(0);
        }
        Some(Line { whole, start })
    }
}

/// Returns the hint for a line with the cursor at its end: the remaining arguments of its command.
pub fn hint(docs: &Docs, line: &str) -> Option<String> {
    let parsed = Line::parse(line)?;
    let (entry, count) = docs.find(&parsed.whole)?;
    let rests = left(&entry.arguments, &parsed.whole[count..])?;
    let shown = rests.into_iter().map(Rest::show).collect::<Vec<_>>().join(" ");
    let space = if parsed.start == line.len() { "" } else { " " };
    (!shown.is_empty()).then(|| format!("{space}{shown}"))
}

/// Returns where the word before the cursor begins, and its possible completions.
pub fn complete(docs: &Docs, line: &str) -> (usize, Vec<String>) {
    let Some(Line { whole, start }) = Line::parse(line) else { return (line.len(), Vec::new()) };
    let typed = &line[start..];
    let mut found: Vec<String> = Vec::new();
    let is_help = whole.first().is_some_and(|word| word.eq_ignore_ascii_case(b"help") || word == b"?");
    let name = if is_help { &whole[1..] } else { &whole[..] };
    let prefix: String =
        name.iter().map(|word| String::from_utf8_lossy(word).to_ascii_uppercase() + " ").collect();
    // The next words of names; subcommands are offered once the first word is complete.
    let names = docs.entries.iter().filter_map(|entry| entry.name.strip_prefix(&prefix));
    found.extend(names.filter(|rest| !rest.contains(' ')).map(str::to_string));
    if is_help && name.is_empty() {
        found.extend(docs.groups().into_iter().map(|group| format!("@{group}")));
    } else if !is_help && let Some((entry, count)) = docs.find(&whole) {
        found.extend(tokens(&left(&entry.arguments, &whole[count..]).unwrap_or_default()));
    }
    found.retain(|word| {
        !word.is_empty()
            && word.len() >= typed.len()
            && word.is_char_boundary(typed.len())
            && word[..typed.len()].eq_ignore_ascii_case(typed)
    });
    // Continue in lower case if the user types lower case.
    let is_small = typed.ends_with(|last: char| last.is_ascii_lowercase());
    if is_small {
        for word in &mut found {
            word.make_ascii_lowercase();
        }
    }
    let mut words: Vec<String> = Vec::new();
    for word in found {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    (start, words)
}

/// Returns the remaining arguments after `words`; `None` if the words do not match.
fn left<'a>(arguments: &'a [Argument], words: &[Vec<u8>]) -> Option<Vec<Rest<'a>>> {
    match sequence(arguments, words, &[]) {
        Match::Open(rests) => Some(rests),
        Match::Done(used) if used == words.len() => Some(Vec::new()),
        _ => None,
    }
}

/// Matches arguments in order. `behind` are the arguments after them.
fn sequence<'a>(arguments: &'a [Argument], words: &[Vec<u8>], behind: &[&Argument]) -> Match<'a> {
    let (mut at, mut used) = (0, 0);
    // The rest of the latest argument if it may be repeated.
    let mut again = None;
    while at < arguments.len() {
        let end = at + arguments[at..].iter().take_while(|argument| argument.is_optional).count();
        let open = |at: usize, first: Vec<Rest<'a>>| {
            let rest = arguments[at..].iter().map(Rest::Whole);
            Match::Open(first.into_iter().chain(rest).collect())
        };
        if end == at {
            if used == words.len() {
                return open(at, again.into_iter().collect());
            }
            let follow: Vec<&Argument> = arguments[at + 1..].iter().chain(behind.iter().copied()).collect();
            match one(&arguments[at], &words[used..], &follow) {
                Match::None => return Match::None,
                Match::Open(rests) => return open(at + 1, rests),
                Match::Done(count) => used += count,
            }
            again = arguments[at].is_multiple.then_some(Rest::Again(&arguments[at]));
            at += 1;
            continue;
        }
        let mut group: Vec<&'a Argument> = arguments[at..end].iter().collect();
        loop {
            if used == words.len() {
                let first = again.into_iter().chain(group.into_iter().map(Rest::Whole)).collect();
                return open(end, first);
            }
            let follow: Vec<&Argument> =
                group.iter().copied().chain(&arguments[end..]).chain(behind.iter().copied()).collect();
            let found = group.iter().enumerate().find_map(|(place, argument)| {
                match one(argument, &words[used..], &follow) {
                    Match::None => None,
                    found => Some((place, found)),
                }
            });
            let Some((place, found)) = found else { break };
            let argument = group.remove(place);
            match found {
                Match::Open(rests) => {
                    let first = rests.into_iter().chain(group.into_iter().map(Rest::Whole)).collect();
                    return open(end, first);
                }
                Match::Done(count) => used += count,
                Match::None => {}
            }
            again = argument.is_multiple.then_some(Rest::Again(argument));
        }
        at = end;
    }
    match again {
        Some(rest) if used == words.len() => Match::Open(vec![rest]),
        _ => Match::Done(used),
    }
}

/// Matches one argument with its repetitions. There is at least one word.
fn one<'a>(argument: &'a Argument, words: &[Vec<u8>], follow: &[&Argument]) -> Match<'a> {
    let mut used = 0;
    let mut first = true;
    while used < words.len() {
        if !first && (!argument.is_multiple || follow.iter().any(|next| begins(next, &words[used]))) {
            break;
        }
        let mut taken = 0;
        if let Some(token) = &argument.token
            && (first || argument.repeats_token)
        {
            if !words[used].eq_ignore_ascii_case(token.as_bytes()) {
                break;
            }
            taken = 1;
        }
        if argument.kind != Kind::Token {
            if used + taken == words.len() {
                return Match::Open(vec![Rest::Value(argument)]);
            }
            match value(argument, &words[used + taken..], follow) {
                Match::None => break,
                Match::Open(mut rests) => {
                    rests.extend(argument.is_multiple.then_some(Rest::Again(argument)));
                    return Match::Open(rests);
                }
                Match::Done(count) => taken += count,
            }
        }
        if taken == 0 {
            break;
        }
        used += taken;
        first = false;
    }
    if used == 0 { Match::None } else { Match::Done(used) }
}

/// Matches the part after the token.
fn value<'a>(argument: &'a Argument, words: &[Vec<u8>], follow: &[&Argument]) -> Match<'a> {
    let text = || std::str::from_utf8(&words[0]).ok();
    let fits = match argument.kind {
        Kind::Block => {
            return match sequence(&argument.children, words, follow) {
                Match::Done(0) => Match::None,
                found => found,
            };
        }
        Kind::OneOf => {
            let found = argument.children.iter().map(|child| one(child, words, follow));
            return found.into_iter().find(|found| !matches!(found, Match::None)).unwrap_or(Match::None);
        }
        Kind::Integer => text().is_some_and(|text| text.parse::<i64>().is_ok()),
        Kind::Number => text().is_some_and(|text| text.trim_start_matches('(').parse::<f64>().is_ok()),
        Kind::Word | Kind::Token => true,
    };
    if fits { Match::Done(1) } else { Match::None }
}

/// Whether an argument has this word as its token at the start.
fn begins(argument: &Argument, word: &[u8]) -> bool {
    match &argument.token {
        Some(token) => word.eq_ignore_ascii_case(token.as_bytes()),
        None if argument.kind == Kind::OneOf => argument.children.iter().any(|child| begins(child, word)),
        None => argument.children.first().is_some_and(|child| begins(child, word)),
    }
}

/// Returns the tokens that may come next.
fn tokens(rests: &[Rest<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for rest in rests {
        match rest {
            Rest::Whole(argument) => {
                first_tokens(argument, &mut found);
                if !argument.is_optional {
                    break;
                }
            }
            Rest::Value(argument) => {
                argument.children.iter().for_each(|child| first_tokens(child, &mut found));
                break;
            }
            Rest::Again(argument) if argument.token.is_some() && !argument.repeats_token => {}
            Rest::Again(argument) => first_tokens(argument, &mut found),
        }
    }
    found
}

fn first_tokens(argument: &Argument, found: &mut Vec<String>) {
    if let Some(token) = &argument.token {
        found.push(token.clone());
        return;
    }
    for child in &argument.children {
        first_tokens(child, found);
        if argument.kind == Kind::Block && !child.is_optional {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hinted(line: &str) -> String {
        hint(&Docs::built_in(), line).unwrap_or_default()
    }

    #[test]
    fn the_hint_is_what_is_left_of_the_arguments() {
        let options =
            "[EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]";
        for (line, left) in [
            ("set", String::new()),
            ("set ", format!("key value [NX|XX] [GET] {options}")),
            ("set fo", format!(" key value [NX|XX] [GET] {options}")),
            ("set foo ", format!("value [NX|XX] [GET] {options}")),
            ("3 set foo ", format!("value [NX|XX] [GET] {options}")),
            ("set foo bar NX ", format!("[GET] {options}")),
            ("set foo bar ex ", "seconds [NX|XX] [GET]".to_string()),
            ("set foo bar ex 1 get ", "[NX|XX]".to_string()),
            ("set foo bar ex 1 get nx ", String::new()),
            ("set foo bar zz ", String::new()),
            ("config get ", "parameter [parameter ...]".to_string()),
            ("config get a ", "[parameter ...]".to_string()),
            ("mset a ", "value [key value ...]".to_string()),
            ("mset a b ", "[key value ...]".to_string()),
            ("zadd k ", "[NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]".to_string()),
            ("zadd k nx ", "[GT|LT] [CH] [INCR] score member [score member ...]".to_string()),
            ("zadd k 1 ", "member [score member ...]".to_string()),
            ("zadd k 1 a ", "[score member ...]".to_string()),
            (
                "sort k get a ",
                "[GET pattern ...] [BY pattern] [LIMIT offset count] [ASC|DESC] [ALPHA] [STORE destination]"
                    .to_string(),
            ),
            (
                "sort k limit 0 ",
                "count [BY pattern] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE destination]"
                    .to_string(),
            ),
            ("zunion 2 a b weights 1 ", "[weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]".to_string()),
            (
                "xadd s maxlen = ",
                "threshold [LIMIT count] [NOMKSTREAM] *|id field value [field value ...]".to_string(),
            ),
            ("get a b", String::new()),
            ("nosuch ", String::new()),
            ("set \"a b\" ", format!("value [NX|XX] [GET] {options}")),
            ("set \"a b", String::new()),
        ] {
            assert_eq!(hinted(line), left, "{line:?}");
        }
    }

    #[test]
    fn names_and_tokens_complete_what_is_typed() {
        let docs = Docs::built_in();
        let words = |line: &str| complete(&docs, line);
        assert_eq!(words("hgetal"), (0, vec!["hgetall".to_string()]));
        assert_eq!(words("HGETAL"), (0, vec!["HGETALL".to_string()]));
        assert_eq!(words("config re"), (7, vec!["resetstat".to_string(), "rewrite".to_string()]));
        assert_eq!(words("set a b k"), (8, vec!["keepttl".to_string()]));
        assert_eq!(
            words("set a b NX "),
            (11, ["GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL"].map(String::from).to_vec())
        );
        assert_eq!(words("help @sor"), (5, vec!["@sorted-set".to_string()]));
        assert_eq!(words("help config ge"), (12, vec!["get".to_string()]));
        assert_eq!(words("set \"a"), (4, Vec::new()));
        assert_eq!(words("nosuch x"), (7, Vec::new()));
    }

    #[test]
    fn no_line_of_any_command_panics() {
        let docs = Docs::built_in();
        let mut seed = 7_usize;
        let mut next = |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        for entry in &docs.entries {
            for _ in 0..20 {
                let mut line = entry.name.clone() + " ";
                for _ in 0..next(8) {
                    let (_, offered) = complete(&docs, &line);
                    let word = match next(3) {
                        0 if !offered.is_empty() => offered[next(offered.len())].clone(),
                        1 => next(9).to_string(),
                        _ => "é\"w".to_string().replace('"', if next(9) == 0 { "\"" } else { "" }),
                    };
                    line.push_str(&word);
                    line.push(' ');
                    hint(&docs, line.trim_end());
                    hint(&docs, &line);
                }
            }
        }
    }
}
