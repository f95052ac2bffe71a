//! A command's arguments according to COMMAND DOCS, and the calls that can be built from them.
//!
//! Each argument has forms: an optional one may be absent, each alternative is a form, and an argument that may be
//! repeated has a repeated form. The first form of each gives the plainest call. Then each argument takes each of its
//! other forms, alone and with each form of each other argument. So the calls contain every option, and every pair of
//! options in both orders.

use super::values;
use crate::support::{Client, Value};

/// The most forms of a block or of a repeated argument, and the most pairs of forms of a command: a prefix of an even
/// spread over all of them.
const FORMS: usize = 24;
const PAIRS: usize = 600;

/// The kind of a word in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The command, or the token of an option.
    Token,
    Key,
    /// The number of the keys after it.
    Keys,
    /// Any other word, by the name and type of its argument.
    Value {
        name: String,
        kind: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: Vec<u8>,
    pub role: Role,
}

impl Word {
    pub fn token(text: &str) -> Word {
        Word { text: text.into(), role: Role::Token }
    }
}

type Form = Vec<Word>;

/// A node of the tree of arguments.
struct Argument {
    name: String,
    kind: String,
    token: Option<String>,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
    inner: Vec<Argument>,
}

/// A command as its documentation describes it.
pub struct Documented {
    pub name: String,
    pub group: String,
    arguments: Vec<Argument>,
}

impl Documented {
    /// Requests the documentation from a server, in RESP2.
    pub fn ask(client: &mut Client, name: &str) -> Documented {
        let docs = client.call(&["COMMAND", "DOCS", name]).elements();
        let docs = docs.get(1).unwrap_or_else(|| panic!("COMMAND DOCS does not know {name}"));
        let arguments = optional(docs, "arguments").map(|all| all.elements()).unwrap_or_default();
        Documented {
            name: name.into(),
            group: docs.field("group").text(),
            arguments: arguments.iter().map(Argument::parse).collect(),
        }
    }

    fn words(&self) -> Vec<Word> {
        self.name.to_uppercase().split('|').map(Word::token).collect()
    }

    /// The plainest call, then those in which one argument has another form. The words of these calls are varied
    /// further.
    pub fn single(&self) -> Vec<Vec<Word>> {
        let forms = self.forms();
        let mut calls = vec![self.call(&forms, &[])];
        for (argument, of) in forms.iter().enumerate() {
            calls.extend((1..of.len()).map(|form| self.call(&forms, &[(argument, form)])));
        }
        calls
    }

    /// Calls in which two arguments have other forms, in both orders if both are optional, and calls that repeat an
    /// optional argument.
    pub fn paired(&self) -> Vec<Vec<Word>> {
        let forms = self.forms();
        let mut pairs = Vec::new();
        for (first, of_first) in forms.iter().enumerate() {
            for a in 1..of_first.len() {
                pairs.extend((1..of_first.len()).map(|again| ((first, a), (first, again))));
                for (second, of_second) in forms.iter().enumerate().skip(first + 1) {
                    pairs.extend((1..of_second.len()).map(|b| ((first, a), (second, b))));
                }
            }
        }
        let mut calls = Vec::new();
        for (a, b) in spread(pairs, PAIRS) {
            let can_move = self.arguments[a.0].optional && self.arguments[b.0].optional;
            if a.0 == b.0 {
                if can_move {
                    let mut call = self.call(&forms, &[a]);
                    call.extend(forms[b.0][b.1].iter().cloned());
                    calls.push(counted(call));
                }
                continue;
            }
            calls.push(self.call(&forms, &[a, b]));
            if can_move {
                let mut swapped: Vec<&[Word]> = forms.iter().map(|of| &of[0][..]).collect();
                (swapped[a.0], swapped[b.0]) = (&forms[b.0][b.1], &forms[a.0][a.1]);
                calls.push(counted([&self.words()[..], &swapped.concat()].concat()));
            }
        }
        calls
    }

    fn forms(&self) -> Vec<Vec<Form>> {
        self.arguments.iter().map(|argument| argument.forms(self)).collect()
    }

    /// The call with the first form of each argument except for those `chosen`.
    fn call(&self, forms: &[Vec<Form>], chosen: &[(usize, usize)]) -> Vec<Word> {
        let mut call = self.words();
        for (argument, of) in forms.iter().enumerate() {
            let form = chosen.iter().find(|(a, _)| *a == argument).map_or(0, |(_, form)| *form);
            call.extend(of[form].iter().cloned());
        }
        counted(call)
    }
}

/// The value of a key that may be missing.
fn optional(map: &Value, key: &str) -> Option<Value> {
    let all = map.elements();
    all.chunks(2).find(|pair| pair[0].text() == key).map(|pair| pair[1].clone())
}

/// Fills in the number of keys.
fn counted(mut call: Vec<Word>) -> Vec<Word> {
    for at in 0..call.len() {
        if call[at].role == Role::Keys {
            let keys = call[at + 1..].iter().take_while(|word| word.role == Role::Key).count();
            call[at].text = keys.to_string().into();
        }
    }
    call
}

/// At most `most` of `all`, spread evenly.
fn spread<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let len = all.len();
    let mut seen = 0;
    let keep = |_: &T| {
        seen += 1;
        len <= most || seen * most / len != (seen - 1) * most / len
    };
    all.into_iter().filter(keep).collect()
}

impl Argument {
    fn parse(value: &Value) -> Argument {
        let text = |key: &str| optional(value, key).map(|found| found.text());
        let flags: Vec<String> = optional(value, "flags")
            .map(|flags| flags.elements().iter().map(Value::text).collect())
            .unwrap_or_default();
        let flag = |name: &str| flags.iter().any(|flag| flag == name);
        let inner = optional(value, "arguments").map(|inner| inner.elements()).unwrap_or_default();
        Argument {
            name: text("name").expect("an argument has a name"),
            kind: text("type").expect("an argument has a type"),
            token: text("token"),
            optional: flag("optional"),
            multiple: flag("multiple"),
            multiple_token: flag("multiple_token"),
            inner: inner.iter().map(Argument::parse).collect(),
        }
    }

    /// All forms; the first is the plainest.
    fn forms(&self, command: &Documented) -> Vec<Form> {
        let mut once: Vec<Form> = match &*self.kind {
            "pure-token" => vec![vec![]],
            "oneof" => self.inner.iter().flat_map(|inner| inner.forms(command)).collect(),
            "block" => self.block(command),
            _ => values::samples(command, &self.name, &self.kind),
        };
        once.dedup();
        let token: Form = self.token.iter().map(|token| Word::token(token)).collect();
        let again: &[Word] = if self.multiple_token { &token } else { &[] };
        let mut forms: Vec<Form> = once.iter().map(|form| [&token[..], form].concat()).collect();
        if self.multiple {
            let first = forms[0].clone();
            let twice = once.iter().map(|form| [&first[..], again, form].concat());
            forms.extend(twice.collect::<Vec<_>>());
            forms.push([&first[..], again, &once[0], again, &once[once.len() - 1]].concat());
        }
        forms = spread(forms, FORMS);
        if self.optional {
            forms.insert(0, vec![]);
        }
        forms
    }

    /// The forms of arguments that always come together.
    fn block(&self, command: &Documented) -> Vec<Form> {
        let parts: Vec<Vec<Form>> = self.inner.iter().map(|inner| inner.forms(command)).collect();
        let with = |chosen: &[(usize, usize)]| {
            let form = |part: usize| chosen.iter().find(|(p, _)| *p == part).map_or(0, |(_, form)| *form);
            parts.iter().enumerate().flat_map(|(part, of)| of[form(part)].iter().cloned()).collect::<Form>()
        };
        let mut forms = vec![with(&[])];
        for (part, of) in parts.iter().enumerate() {
            forms.extend((1..of.len()).map(|form| with(&[(part, form)])));
        }
        let last: Vec<(usize, usize)> =
            parts.iter().enumerate().map(|(part, of)| (part, of.len() - 1)).collect();
        forms.push(with(&last));
        spread(forms, FORMS)
    }
}
