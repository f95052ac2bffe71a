//! Turns `src/command/table/*.def` into the static command table that `src/command/table/mod.rs` includes.
//!
//! A definition is text with two spaces of indentation per level: a keyword, then its value up to the end of the line.
//! `#` begins a comment line. The files are read in the order of their names; `group` sets the group, for the
//! documentation, of the commands that follow it in the file.
//!
//! ```text
//! command expire
//!   summary     one sentence
//!   since       version
//!   complexity  O(1)                      may be absent
//!   deprecated  version what replaces it  may be absent
//!   syscmd                                an internal command, for the documentation
//!   history     version what changed      any number of lines
//!   arity       -3                        arguments, including the name; negative: at least that many
//!   flags       write fast                of vocabulary::FLAGS
//!   acl         keyspace                  of vocabulary::CATEGORIES, beyond those that the flags imply
//!   tips        nondeterministic_output   free words
//!   key         RW update at 1            a key specification, see below
//!     notes     why                       may be absent
//!   member      2                         the argument that names a member of the first key's collection, if one does
//!   getkeys     set                       how to find the keys if the specifications do not suffice
//!   handler     keys::expire              a function of a family, one of the server as `server::client_id`, or `help`
//!   argument key key spec=0               name, kind, then display= spec= token= since= deprecated= optional multiple
//!                                         multiple_token
//!     argument ...                        of a oneof or a block
//!   help        EXPIRE <key> ...          a line of HELP; its indentation after the first two spaces is kept
//!   subcommand  name                      the same again, one level deeper
//! ```
//!
//! A key specification consists of flags of `vocabulary::KEY_FLAGS`, of where the keys begin (`at 1`, `after STREAMS
//! from 1`, `unknown`), and of which they are: `to -1 step 2 limit 0` (where that differs from `to 0 step 1 limit 0`),
//! `keynum 0 first 1 step 1`, or `unknown`.
//!
//! A mistake ends the build with one line: the file, the line, and what is wrong there.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, process};

#[path = "src/command/table/perfect_hash.rs"]
#[allow(dead_code)]
mod perfect_hash;
#[path = "src/command/table/vocabulary.rs"]
#[allow(dead_code)]
mod vocabulary;

use perfect_hash::{LONGEST_NAME, Words, shape};

const DEFINITIONS: &str = "src/command/table";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={DEFINITIONS}");
    println!("cargo::rerun-if-changed=src/command/table/perfect_hash.rs");
    println!("cargo::rerun-if-changed=src/command/table/vocabulary.rs");
    let sources = match sources(Path::new(DEFINITIONS)) {
        Ok(sources) => sources,
        Err(error) => fail(&format!("{DEFINITIONS}: {error}")),
    };
    let code = match generate(&sources) {
        Ok(code) => code,
        Err(mistake) => fail(&mistake),
    };
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    for (file, code) in [("commands.rs", code.table), ("server_commands.rs", code.server)] {
        if let Err(error) = fs::write(Path::new(&out).join(file), code) {
            fail(&format!("writing the command table: {error}"));
        }
    }
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    process::exit(1)
}

/// A definition file: its path for messages, and its text.
pub struct Source {
    /// The path as messages print it.
    pub file: String,
    /// The whole text.
    pub text: String,
}

fn sources(directory: &Path) -> std::io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "def") {
            sources.push(Source { file: path.display().to_string(), text: fs::read_to_string(&path)? });
        }
    }
    sources.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(sources)
}

/// Returns the Rust source generated from all `sources`, or the first mistake as `file:line: reason`.
pub fn generate(sources: &[Source]) -> Result<Code, String> {
    let mut commands = Vec::new();
    for source in sources {
        let mut group = None;
        for node in read_tree(source)? {
            match node.keyword.as_str() {
                "group" => group = Some(node.one_of(&node.value, vocabulary::GROUPS, "group")?.to_owned()),
                "command" => commands.push(read_command(&node, group.as_deref(), None)?),
                other => return Err(node.mistake(&format!("expected 'command' or 'group', got '{other}'"))),
            }
        }
    }
    let commands = lay_out(commands)?;
    let mut table = String::new();
    emit(&mut table, &commands)?;
    Ok(Code { table, server: server_functions(&commands) })
}

/// The generated source files.
pub struct Code {
    /// The command table, included by `src/command/table/mod.rs`.
    pub table: String,
    /// The functions of server commands, included by `src/server/admin/mod.rs`: the table's layer knows only their
    /// names.
    pub server: String,
}

/// One line of a definition, and the lines indented below it.
struct Node {
    place: String,
    keyword: String,
    value: String,
    children: Vec<Node>,
}

impl Node {
    fn mistake(&self, what: &str) -> String {
        format!("{}: {what}", self.place)
    }

    fn one_of<'a>(&self, word: &'a str, list: &[&str], what: &str) -> Result<&'a str, String> {
        match vocabulary::place(list, word) {
            Some(_) => Ok(word),
            None => Err(self.mistake(&format!("unknown {what} '{word}'"))),
        }
    }

    fn bits(&self, words: &str, list: &[&str], what: &str) -> Result<u64, String> {
        let mut bits = 0;
        for word in words.split_whitespace() {
            let bit = vocabulary::bit(list, self.one_of(word, list, what)?);
            if bits & bit != 0 {
                return Err(self.mistake(&format!("{what} '{word}' stands here twice")));
            }
            bits |= bit;
        }
        Ok(bits)
    }

    fn integer(&self, word: Option<&str>) -> Result<i32, String> {
        let word = word.unwrap_or("");
        word.parse().map_err(|_| self.mistake(&format!("'{word}' is not a number")))
    }

    fn leaf(&self) -> Result<&str, String> {
        match self.children.first() {
            Some(child) => Err(child.mistake(&format!("nothing can stand beneath '{}'", self.keyword))),
            None if self.value.is_empty() => Err(self.mistake(&format!("'{}' wants a value", self.keyword))),
            None => Ok(&self.value),
        }
    }

    /// Splits `version text`.
    fn version_and_text(&self) -> Result<(String, String), String> {
        match self.leaf()?.split_once(' ') {
            Some((version, text)) => Ok((version.to_owned(), text.to_owned())),
            None => Err(self.mistake(&format!("'{}' wants a version and a text", self.keyword))),
        }
    }
}

fn read_tree(source: &Source) -> Result<Vec<Node>, String> {
    // The open node of each level, from the root; a line closes all levels below its own.
    let mut levels: Vec<Vec<Node>> = vec![Vec::new()];
    let close = |levels: &mut Vec<Vec<Node>>, depth: usize| {
        while levels.len() > depth + 1 {
            let children = levels.pop().unwrap_or_default();
            if let Some(parent) = levels.last_mut().and_then(|level| level.last_mut()) {
                parent.children = children;
            }
        }
    };
    for (number, line) in source.text.lines().enumerate() {
        let text = line.trim_start_matches(' ');
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let place = format!("{}:{}", source.file, number + 1);
        let indentation = line.len() - text.len();
        let depth = indentation / 2;
        if text.starts_with('\t') || indentation % 2 != 0 {
            return Err(format!("{place}: indent by two spaces a level"));
        }
        close(&mut levels, depth);
        let orphan = depth > 0 && levels.get(depth - 1).is_none_or(Vec::is_empty);
        if orphan {
            return Err(format!("{place}: indented deeper than the line that it belongs to allows"));
        }
        if levels.len() == depth {
            levels.push(Vec::new());
        }
        let (keyword, value) = text.split_once(' ').unwrap_or((text, ""));
        // A line of HELP starts at a fixed column: its own indentation is part of the text that users see.
        let value = match keyword {
            "help" => value.get("       ".len()..).unwrap_or("").trim_end(),
            _ => value.trim(),
        };
        levels[depth].push(Node {
            place,
            keyword: keyword.to_owned(),
            value: value.to_owned(),
            children: Vec::new(),
        });
    }
    close(&mut levels, 0);
    Ok(levels.pop().unwrap_or_default())
}

struct Command {
    place: String,
    name: String,
    container: Option<String>,
    summary: String,
    since: String,
    group: String,
    complexity: Option<String>,
    deprecated: Option<(String, String)>,
    syscmd: bool,
    history: Vec<(String, String)>,
    arity: i32,
    flags: u64,
    acl: u64,
    tips: Vec<String>,
    keys: Vec<Key>,
    member: u8,
    finder: Option<String>,
    handler: Option<String>,
    arguments: Vec<Argument>,
    help: Vec<String>,
    subcommands: Vec<Command>,
    // Set once all commands are in one array.
    scope: u16,
    children: (usize, usize),
}

struct Key {
    flags: u64,
    notes: Option<String>,
    begin: Begin,
    find: Find,
}

enum Begin {
    Index(i32),
    Keyword(String, i32),
    Unknown,
}

enum Find {
    Range { last: i32, step: i32, limit: i32 },
    KeyNum { at: i32, first: i32, step: i32 },
    Unknown,
}

struct Argument {
    name: String,
    kind: String,
    display: Option<String>,
    key_spec: Option<usize>,
    token: Option<String>,
    since: Option<String>,
    deprecated_since: Option<String>,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
    arguments: Vec<Argument>,
}

fn read_command(node: &Node, group: Option<&str>, container: Option<&str>) -> Result<Command, String> {
    let name = node.value.clone();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        let rule =
            format!("a name is 1 to {LONGEST_NAME} lower-case letters, digits, '-' and '_', not '{name}'");
        return Err(node.mistake(&rule));
    }
    let Some(group) = group else { return Err(node.mistake("no 'group' line above the first command")) };
    let mut command = Command {
        place: node.place.clone(),
        name,
        container: container.map(str::to_owned),
        summary: String::new(),
        since: String::new(),
        group: group.to_owned(),
        complexity: None,
        deprecated: None,
        syscmd: false,
        history: Vec::new(),
        arity: 0,
        flags: 0,
        acl: 0,
        tips: Vec::new(),
        keys: Vec::new(),
        member: 0,
        finder: None,
        handler: None,
        arguments: Vec::new(),
        help: Vec::new(),
        subcommands: Vec::new(),
        scope: 0,
        children: (0, 0),
    };
    let mut seen = HashSet::new();
    for field in &node.children {
        let repeatable =
            ["history", "key", "argument", "help", "subcommand"].contains(&field.keyword.as_str());
        if !seen.insert(field.keyword.as_str()) && !repeatable {
            return Err(field.mistake(&format!("a second '{}' line", field.keyword)));
        }
        read_field(&mut command, field)?;
    }
    check_command(&mut command, node, &seen)?;
    Ok(command)
}

fn read_field(command: &mut Command, field: &Node) -> Result<(), String> {
    match field.keyword.as_str() {
        "summary" => field.leaf()?.clone_into(&mut command.summary),
        "since" => field.leaf()?.clone_into(&mut command.since),
        "complexity" => command.complexity = Some(field.leaf()?.to_owned()),
        "deprecated" => command.deprecated = Some(field.version_and_text()?),
        "syscmd" => command.syscmd = true,
        "history" => command.history.push(field.version_and_text()?),
        "arity" => command.arity = field.integer(Some(field.leaf()?))?,
        "flags" => command.flags = field.bits(field.leaf()?, vocabulary::FLAGS, "flag")?,
        "acl" => command.acl = field.bits(field.leaf()?, vocabulary::CATEGORIES, "ACL category")?,
        "tips" => command.tips = field.leaf()?.split_whitespace().map(str::to_owned).collect(),
        "key" => command.keys.push(read_key(field)?),
        "getkeys" => {
            let finder = field.one_of(field.leaf()?, vocabulary::KEY_FINDERS, "key finder")?;
            command.finder = Some(finder.to_owned());
        }
        "member" => {
            let member = u8::try_from(field.integer(Some(field.leaf()?))?);
            command.member = member.map_err(|_| field.mistake("no argument has this index"))?;
        }
        "handler" => command.handler = Some(field.leaf()?.to_owned()),
        "argument" => command.arguments.push(read_argument(field)?),
        "help" => command.help.push(field.leaf()?.to_owned()),
        "subcommand" if command.container.is_some() => {
            return Err(field.mistake("a subcommand has no subcommands"));
        }
        "subcommand" => {
            let subcommand = read_command(field, Some(&command.group), Some(&command.name))?;
            command.subcommands.push(subcommand);
        }
        other => return Err(field.mistake(&format!("unknown keyword '{other}'"))),
    }
    Ok(())
}

/// Checks that the lines of a command are consistent, and derives values from them.
fn check_command(command: &mut Command, node: &Node, seen: &HashSet<&str>) -> Result<(), String> {
    for keyword in ["summary", "since", "arity"] {
        if !seen.contains(keyword) {
            return Err(node.mistake(&format!("'{}' has no '{keyword}' line", command.name)));
        }
    }
    let name_words = if command.container.is_some() { 2 } else { 1 };
    if command.arity == 0 || command.arity.unsigned_abs() < name_words {
        return Err(node.mistake(&format!("arity {} does not count the name", command.arity)));
    }
    if command.handler.is_none() && command.subcommands.is_empty() {
        return Err(node.mistake(&format!("'{}' has no 'handler' line and no subcommands", command.name)));
    }
    let is_fixed = |key: &Key| matches!((&key.begin, &key.find), (Begin::Index(_), Find::Range { .. }));
    if command.container.is_some() && command.handler.as_deref() == Some("help") {
        command.flags |= vocabulary::bit(vocabulary::FLAGS, "no_data");
    }
    if !command.keys.iter().all(is_fixed) {
        command.flags |= vocabulary::bit(vocabulary::FLAGS, "movablekeys");
    }
    for key in &command.keys {
        check_key(key, command, node)?;
    }
    check_key_references(&command.arguments, command.keys.len(), node)?;
    if command.subcommands.is_empty() || command.handler.is_some() {
        imply_categories(command, node)?;
    } else {
        // A container does nothing by itself: it requires the name of a subcommand.
        command.acl |= vocabulary::bit(vocabulary::CATEGORIES, "slow");
    }
    Ok(())
}

fn imply_categories(command: &mut Command, node: &Node) -> Result<(), String> {
    let category = |word| vocabulary::bit(vocabulary::CATEGORIES, word);
    let mut implied = 0;
    for (flag, word) in vocabulary::IMPLIED {
        if command.flags & vocabulary::bit(vocabulary::FLAGS, flag) != 0 {
            implied |= category(word);
        }
    }
    // A read-only script reads only through the commands that it calls, so it has no category "read" itself.
    if command.acl & category("scripting") != 0 {
        implied &= !category("read");
    }
    if implied & category("fast") == 0 {
        implied |= category("slow");
    }
    if command.acl & implied != 0 {
        return Err(node.mistake("an 'acl' line names only what the flags do not imply"));
    }
    command.acl |= implied;
    Ok(())
}

fn check_key(key: &Key, command: &Command, node: &Node) -> Result<(), String> {
    let access = vocabulary::KEY_FLAGS[..4].iter().map(|word| vocabulary::bit(vocabulary::KEY_FLAGS, word));
    let is_key = key.flags & vocabulary::bit(vocabulary::KEY_FLAGS, "not_key") == 0;
    if access.filter(|bit| key.flags & bit != 0).count() != usize::from(is_key) {
        return Err(node.mistake("each key specification has one of RO, RW, OW, RM, or not_key"));
    }
    let flag = |word| vocabulary::bit(vocabulary::FLAGS, word);
    // A command with `may_replicate` changes how a value is stored (a cache), but not its content. A script, whose keys
    // are not mandatory, can call commands that write.
    let writes = flag("write") | flag("may_replicate") | flag("no_mandatory_keys");
    let reads = vocabulary::bit(vocabulary::KEY_FLAGS, "RO");
    if is_key && key.flags & reads == 0 && command.flags & writes == 0 {
        return Err(node.mistake("a command that changes a key has the flag 'write'"));
    }
    let Begin::Index(first) = key.begin else { return Ok(()) };
    // With a variable number of arguments, the range "up to the end of the call" can be empty.
    let may_be_none = command.arity < 0 && matches!(key.find, Find::Range { last: -1, .. });
    let least = command.arity.unsigned_abs() + u32::from(may_be_none);
    if first < 1 || first.unsigned_abs() >= least {
        return Err(node.mistake(&format!("a key at {first} does not fit the arity {}", command.arity)));
    }
    Ok(())
}

fn check_key_references(arguments: &[Argument], keys: usize, node: &Node) -> Result<(), String> {
    for argument in arguments {
        if argument.key_spec.is_some_and(|index| index >= keys) {
            return Err(node.mistake(&format!("argument '{}': no such key specification", argument.name)));
        }
        check_key_references(&argument.arguments, keys, node)?;
    }
    Ok(())
}

fn read_key(node: &Node) -> Result<Key, String> {
    let mut notes = None;
    for child in &node.children {
        match child.keyword.as_str() {
            "notes" => notes = Some(child.leaf()?.to_owned()),
            other => return Err(child.mistake(&format!("unknown keyword '{other}'"))),
        }
    }
    let mut words = node.value.split_whitespace().peekable();
    let mut flags = String::new();
    while let Some(word) = words.next_if(|word| !["at", "after", "unknown"].contains(word)) {
        flags = flags + word + " ";
    }
    let flags = node.bits(&flags, vocabulary::KEY_FLAGS, "key flag")?;
    let begin = match words.next() {
        Some("at") => Begin::Index(node.integer(words.next())?),
        Some("after") => {
            let keyword = words.next().unwrap_or("").to_owned();
            if words.next() != Some("from") {
                return Err(node.mistake("a keyword wants 'from' and where its search starts"));
            }
            Begin::Keyword(keyword, node.integer(words.next())?)
        }
        Some(_) => Begin::Unknown,
        None => return Err(node.mistake("where do the keys begin: 'at', 'after' or 'unknown'?")),
    };
    let mut find = match begin {
        Begin::Unknown => Find::Unknown,
        _ => Find::Range { last: 0, step: 1, limit: 0 },
    };
    while let Some(word) = words.next() {
        match (word, &mut find) {
            ("to", Find::Range { last, .. }) => *last = node.integer(words.next())?,
            ("step", Find::Range { step, .. } | Find::KeyNum { step, .. }) => {
                *step = node.integer(words.next())?;
            }
            ("limit", Find::Range { limit, .. }) => *limit = node.integer(words.next())?,
            ("first", Find::KeyNum { first, .. }) => *first = node.integer(words.next())?,
            ("keynum", find) => {
                *find = Find::KeyNum { at: node.integer(words.next())?, first: 1, step: 1 };
            }
            ("unknown", find) => *find = Find::Unknown,
            (other, _) => return Err(node.mistake(&format!("'{other}' does not belong here"))),
        }
    }
    if matches!(find, Find::Range { step, .. } | Find::KeyNum { step, .. } if step < 1) {
        return Err(node.mistake("the step from a key to the next is at least 1"));
    }
    Ok(Key { flags, notes, begin, find })
}

fn read_argument(node: &Node) -> Result<Argument, String> {
    let mut words = node.value.split_whitespace();
    let name = words.next().unwrap_or("").to_owned();
    let kind = node.one_of(words.next().unwrap_or(""), vocabulary::ARGUMENT_KINDS, "kind of argument")?;
    let mut argument = Argument {
        name,
        kind: kind.to_owned(),
        display: None,
        key_spec: None,
        token: None,
        since: None,
        deprecated_since: None,
        optional: false,
        multiple: false,
        multiple_token: false,
        arguments: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("spec", index)) => {
                argument.key_spec = Some(node.integer(Some(index))?.unsigned_abs() as usize);
            }
            Some(("display", text)) => argument.display = Some(text.to_owned()),
            Some(("token", token)) => argument.token = Some(token.to_owned()),
            Some(("since", version)) => argument.since = Some(version.to_owned()),
            Some(("deprecated", version)) => argument.deprecated_since = Some(version.to_owned()),
            None if word == "optional" => argument.optional = true,
            None if word == "multiple" => argument.multiple = true,
            None if word == "multiple_token" => argument.multiple_token = true,
            _ => return Err(node.mistake(&format!("'{word}' does not belong here"))),
        }
    }
    for child in &node.children {
        if child.keyword != "argument" {
            return Err(child.mistake(&format!("expected 'argument', got '{}'", child.keyword)));
        }
        argument.arguments.push(read_argument(child)?);
    }
    let branches = kind == "oneof" || kind == "block";
    if branches == argument.arguments.is_empty() {
        return Err(node.mistake("a oneof or a block, and nothing else, has arguments of its own"));
    }
    if kind == "pure-token" && argument.token.is_none() {
        return Err(node.mistake("a pure-token wants 'token='"));
    }
    Ok(argument)
}

/// All commands in one array: first those of the top level, then the subcommands of each container.
fn lay_out(mut top: Vec<Command>) -> Result<Vec<Command>, String> {
    let mut subcommands = Vec::new();
    let count = top.len();
    for (index, command) in top.iter_mut().enumerate() {
        let begin = count + subcommands.len();
        for mut subcommand in command.subcommands.drain(..) {
            subcommand.scope = index as u16 + 1;
            subcommands.push(subcommand);
        }
        command.children = (begin, count + subcommands.len());
    }
    top.append(&mut subcommands);
    let mut seen: HashSet<(u16, &str)> = HashSet::new();
    for command in &top {
        if !seen.insert((command.scope, &command.name)) {
            return Err(format!("{}: a second '{}'", command.place, command.name));
        }
    }
    Ok(top)
}

/// A seed with which no two commands share a slot in a table of `1 << bits` slots, and that table.
struct Perfect {
    seed: u64,
    bits: u32,
    index: Vec<u16>,
}

/// Tries seeds, starting with the smallest table. With n names, a seed succeeds with a probability of about exp(-n² /
/// 2·slots), so a few hundred tries suffice once the table has n² / 10 slots.
fn search_perfect(commands: &[Command]) -> Perfect {
    const TRIES: u64 = 20_000;
    const VACANT: u16 = u16::MAX;
    let mut bits = commands.len().next_power_of_two().trailing_zeros().max(1);
    loop {
        let mut index = vec![VACANT; 1 << bits];
        for try_number in 1..=TRIES {
            // Odd multiples of the golden ratio: well spread, and the same in every build.
            let seed = (2 * try_number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            index.fill(VACANT);
            let fits = commands.iter().enumerate().all(|(id, command)| {
                let name = command.name.as_bytes();
                let hash = Words::of(name).hash(shape(name.len(), command.scope), seed);
                let slot = &mut index[(hash >> (64 - bits)) as usize];
                let free = *slot == VACANT;
                *slot = id as u16;
                free
            });
            if fits {
                // A name that hashes to a vacant slot is compared with the first command, and never equals it.
                index.iter_mut().filter(|slot| **slot == VACANT).for_each(|slot| *slot = 0);
                return Perfect { seed, bits, index };
            }
        }
        bits += 1;
    }
}

fn emit(code: &mut String, commands: &[Command]) -> Result<(), String> {
    let perfect = search_perfect(commands);
    let top = commands.iter().filter(|command| command.scope == 0).count();
    let count = commands.len();
    write_line(code, "// Generated by build.rs from src/command/table/*.def.");
    write_line(code, "/// The number of commands and subcommands, which is larger than every id.");
    write_line(code, &format!("pub const COMMAND_IDS: usize = {count};"));
    write_line(code, &format!("pub(super) const TOP: usize = {top};"));
    write_line(code, &format!("pub(super) const SEED: u64 = {:#x};", perfect.seed));
    write_line(code, &format!("pub(super) const SLOT_BITS: u32 = {};", perfect.bits));
    write_line(
        code,
        &format!("pub(super) static INDEX: [u16; {}] = {:?};", perfect.index.len(), perfect.index),
    );
    write_line(code, &format!("pub(super) static NAMES: [Name; {count}] = ["));
    for command in commands {
        write_line(code, &format!("    Name::new({:?}, {}),", command.name, command.scope));
    }
    write_line(code, "];");
    emit_server_commands(code, commands);
    write_line(code, &format!("pub(super) static ALL: [Command; {count}] = ["));
    for (id, command) in commands.iter().enumerate() {
        write_line(code, &format!("    {},", command_literal(id, command)?));
    }
    write_line(code, "];");
    Ok(())
}

/// The function of a command that the server itself executes.
fn server_function(command: &Command) -> Option<&str> {
    command.handler.as_deref()?.strip_prefix("server::")
}

/// The functions in the order of `ServerCommand`.
fn server_functions(commands: &[Command]) -> String {
    let functions: Vec<&str> = commands.iter().filter_map(server_function).collect();
    let mut code = String::new();
    write_line(&mut code, &format!("pub(super) static FUNCTIONS: [ServerFn; {}] = [", functions.len()));
    for function in functions {
        write_line(&mut code, &format!("    Server::{function},"));
    }
    write_line(&mut code, "];");
    code
}

fn emit_server_commands(code: &mut String, commands: &[Command]) {
    write_line(code, "/// The commands that only the server itself can execute.");
    write_line(code, "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]");
    write_line(code, "pub enum ServerCommand {");
    for command in commands.iter().filter(|command| server_function(command).is_some()) {
        let words = full_name(command).to_uppercase().replace('|', " ");
        write_line(code, &format!("    /// `{words}`"));
        write_line(code, &format!("    {},", variant(&full_name(command))));
    }
    write_line(code, "}");
}

fn command_literal(id: usize, command: &Command) -> Result<String, String> {
    let handler = match command.handler.as_deref() {
        None => "Handler::Container".to_owned(),
        Some(path) if path.starts_with("server::") => {
            format!("Handler::Server(ServerCommand::{})", variant(&full_name(command)))
        }
        Some("help") if command.container.is_some() => "Handler::Help".to_owned(),
        Some(path) if matches!(path.split("::").count(), 2 | 3) => {
            format!("Handler::Keyspace(crate::command::{path})")
        }
        Some(other) => {
            return Err(format!("{}: handler '{other}' is not of the form family::function", command.place));
        }
    };
    let finder = match command.finder.as_deref() {
        None => "Specs".to_owned(),
        Some(finder) => variant(finder),
    };
    let mut text = String::from("Command { ");
    for (field, value) in [
        ("name", format!("{:?}", command.name)),
        ("full_name", format!("{:?}", full_name(command))),
        ("id", id.to_string()),
        ("container", option(command.scope.checked_sub(1))),
        ("arity", command.arity.to_string()),
        ("flags", format!("{:#x}", command.flags)),
        ("acl", format!("{:#x}", command.acl)),
        (
            "keys",
            format!(
                "Keys::new({}, KeyFinder::{finder}, {})",
                list(&command.keys, key_literal),
                command.member
            ),
        ),
        ("tips", format!("&{:?}", command.tips)),
        ("subcommands", format!("({}, {})", command.children.0, command.children.1)),
        ("handler", handler),
        ("docs", docs_literal(command)),
    ] {
        let _ = write!(text, "{field}: {value}, ");
    }
    Ok(text + "}")
}

fn docs_literal(command: &Command) -> String {
    format!(
        "&Docs {{ summary: {:?}, since: {:?}, group: {:?}, complexity: {:?}, deprecated: {:?}, syscmd: {}, \
         history: &{:?}, arguments: {}, help: &{:?} }}",
        command.summary,
        command.since,
        command.group,
        command.complexity,
        command.deprecated,
        command.syscmd,
        command.history,
        list(&command.arguments, argument_literal),
        command.help
    )
}

fn argument_literal(argument: &Argument) -> String {
    format!(
        "Argument {{ name: {:?}, kind: {:?}, display: {:?}, key_spec: {:?}, token: {:?}, since: {:?}, deprecated_since: {:?}, \
         optional: {}, multiple: {}, multiple_token: {}, arguments: {} }}",
        argument.name,
        argument.kind,
        argument.display,
        argument.key_spec,
        argument.token,
        argument.since,
        argument.deprecated_since,
        argument.optional,
        argument.multiple,
        argument.multiple_token,
        list(&argument.arguments, argument_literal)
    )
}

fn key_literal(key: &Key) -> String {
    let begin = match &key.begin {
        Begin::Index(index) => format!("BeginSearch::Index({index})"),
        Begin::Keyword(keyword, from) => {
            format!("BeginSearch::Keyword {{ keyword: {keyword:?}, from: {from} }}")
        }
        Begin::Unknown => "BeginSearch::Unknown".to_owned(),
    };
    let find = match key.find {
        Find::Range { last, step, limit } => {
            format!("FindKeys::Range {{ last: {last}, step: {step}, limit: {limit} }}")
        }
        Find::KeyNum { at, first, step } => {
            format!("FindKeys::KeyNum {{ at: {at}, first: {first}, step: {step} }}")
        }
        Find::Unknown => "FindKeys::Unknown".to_owned(),
    };
    format!("KeySpec {{ flags: {:#x}, notes: {:?}, begin: {begin}, find: {find} }}", key.flags, key.notes)
}

fn list<T>(items: &[T], literal: fn(&T) -> String) -> String {
    let items: Vec<String> = items.iter().map(literal).collect();
    format!("&[{}]", items.join(", "))
}

fn option(value: Option<u16>) -> String {
    format!("{value:?}")
}

fn full_name(command: &Command) -> String {
    match &command.container {
        Some(container) => format!("{container}|{}", command.name),
        None => command.name.clone(),
    }
}

/// Returns `client|no-evict` as `ClientNoEvict`.
fn variant(name: &str) -> String {
    let mut variant = String::new();
    for word in name.split(['|', '-', '_']) {
        let mut letters = word.chars();
        variant.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        variant.push_str(letters.as_str());
    }
    variant
}

fn write_line(code: &mut String, line: &str) {
    code.push_str(line);
    code.push('\n');
}
