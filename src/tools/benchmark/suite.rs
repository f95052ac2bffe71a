//! The tests, by redis-benchmark's names, with their requests and their titles in the output.

use super::template::{DATA, RANDOM_NUMBER, Template};

/// A known test.
#[derive(Debug)]
struct Known {
    /// Its name for `-t`.
    name: &'static str,
    /// The name of its group, if it has one.
    group: &'static str,
    title: &'static str,
    words: &'static str,
}

const fn known(name: &'static str, title: &'static str, words: &'static str) -> Known {
    Known { name, group: "", title, words }
}

const fn grouped(group: &'static str, name: &'static str, title: &'static str, words: &'static str) -> Known {
    Known { name, group, title, words }
}

/// In execution order. Tests that read a list come after one that fills it.
const TESTS: &[Known] = &[
    grouped("ping", "ping_inline", "PING_INLINE", ""),
    grouped("ping", "ping_mbulk", "PING_MBULK", "PING"),
    known("set", "SET", "SET key:__rand_int__ __data__"),
    known("get", "GET", "GET key:__rand_int__"),
    known("incr", "INCR", "INCR counter:__rand_int__"),
    known("lpush", "LPUSH", "LPUSH mylist __data__"),
    known("rpush", "RPUSH", "RPUSH mylist __data__"),
    known("lpop", "LPOP", "LPOP mylist"),
    known("rpop", "RPOP", "RPOP mylist"),
    known("sadd", "SADD", "SADD myset element:__rand_int__"),
    known("hset", "HSET", "HSET myhash element:__rand_int__ __data__"),
    known("spop", "SPOP", "SPOP myset"),
    known("zadd", "ZADD", "ZADD myzset __rand_int__ element:__rand_int__"),
    known("zpopmin", "ZPOPMIN", "ZPOPMIN myzset"),
    grouped(RANGES, "", "LPUSH (needed to benchmark LRANGE)", "LPUSH mylist __data__"),
    grouped(RANGES, "lrange_100", "LRANGE_100 (first 100 elements)", "LRANGE mylist 0 99"),
    grouped(RANGES, "lrange_300", "LRANGE_300 (first 300 elements)", "LRANGE mylist 0 299"),
    grouped(RANGES, "lrange_500", "LRANGE_500 (first 500 elements)", "LRANGE mylist 0 499"),
    grouped(RANGES, "lrange_600", "LRANGE_600 (first 600 elements)", "LRANGE mylist 0 599"),
    known("mset", "MSET (10 keys)", "MSET"),
    known("xadd", "XADD", "XADD mystream * myfield __data__"),
];

const RANGES: &str = "lrange";
const MSET_KEYS: usize = 10;

/// A test, ready to run.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name in the output.
    pub title: String,
    /// The requests that it sends.
    pub template: Template,
}

/// Returns the tests that `names` selects (all without names), with values of `data`. The error is an unknown name.
pub fn selected(names: Option<&[String]>, data: &[u8], has_range: bool) -> Result<Vec<Test>, String> {
    if let Some(unknown) = names.unwrap_or_default().iter().find(|name| !is_name(name)) {
        let all: Vec<&str> = TESTS.iter().map(|test| test.name).filter(|name| !name.is_empty()).collect();
        let wrong = match unknown.as_str() {
            "" => "-t names a test without a name".to_string(),
            unknown => format!("There is no test {unknown}"),
        };
        return Err(format!("{wrong}. The tests are: {}", all.join(" ")));
    }
    let is_selected = |test: &Known| match names {
        None => true,
        // The test that fills the list runs if a test that reads it is selected.
        Some(names) if test.name.is_empty() => names.iter().any(|name| name.starts_with(test.group)),
        Some(names) => names.iter().any(|name| name == test.name || name == test.group),
    };
    let tests = TESTS.iter().filter(|test| is_selected(test));
    Ok(tests
        .map(|test| Test { title: test.title.to_string(), template: template(test, data, has_range) })
        .collect())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && TESTS.iter().any(|test| test.name == name || test.group == name)
}

fn template(test: &Known, data: &[u8], has_range: bool) -> Template {
    if test.words.is_empty() {
        return Template::of_bytes(b"PING\r\n".to_vec());
    }
    let mut words: Vec<Vec<u8>> =
        test.words.split(' ').map(|word| with_data(word.as_bytes(), data)).collect();
    match test.name {
        "mset" => {
            for _ in 0..MSET_KEYS {
                words.push(b"key:__rand_int__".to_vec());
                words.push(data.to_vec());
            }
        }
        // A score has to be a number even if the marks are not replaced.
        "zadd" if !has_range => words[2] = b"0".to_vec(),
        _ => {}
    }
    Template::of_words(&words)
}

/// Builds a test of the request given on the command line.
pub fn custom(words: &[Vec<u8>], data: &[u8]) -> Test {
    let title = words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
    let words: Vec<Vec<u8>> = words.iter().map(|word| with_data(word, data)).collect();
    Test { title, template: Template::of_words(&words) }
}

/// Replaces the marks in a word by the data.
fn with_data(word: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = memchr::memmem::find(rest, DATA.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(data);
        rest = &rest[at + DATA.len()..];
    }
    out.extend_from_slice(rest);
    out
}

const _: () = assert!(RANDOM_NUMBER.len() == 12);

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        selected(Some(&names), b"xyz", false).unwrap().into_iter().map(|test| test.title).collect()
    }

    #[test]
    fn names_and_groups_select_tests_in_their_order() {
        assert_eq!(titles(&["get", "set"]), ["SET", "GET"]);
        assert_eq!(titles(&["ping"]), ["PING_INLINE", "PING_MBULK"]);
        assert_eq!(titles(&["ping_mbulk"]), ["PING_MBULK"]);
        let range = ["LPUSH (needed to benchmark LRANGE)", "LRANGE_300 (first 300 elements)"];
        assert_eq!(titles(&["lrange_300"]), range);
        assert_eq!(titles(&["lrange"]).len(), 5);
        assert_eq!(selected(None, b"xyz", false).unwrap().len(), TESTS.len());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_there_are() {
        for name in ["nosuch", ""] {
            let error = selected(Some(&[name.to_string()]), b"", false).unwrap_err();
            assert!(error.contains("lrange_600") && error.contains("xadd"), "{error}");
        }
    }

    #[test]
    fn requests_are_those_of_redis_benchmark() {
        let bytes = |name: &str, has_range: bool| {
            let tests = selected(Some(&[name.to_string()]), b"xyz", has_range).unwrap();
            String::from_utf8(tests.last().unwrap().template.bytes.clone()).unwrap()
        };
        assert_eq!(bytes("ping_inline", false), "PING\r\n");
        assert_eq!(bytes("set", true), "*3\r\n$3\r\nSET\r\n$16\r\nkey:__rand_int__\r\n$3\r\nxyz\r\n");
        assert!(bytes("zadd", false).contains("\r\n$1\r\n0\r\n$20\r\nelement:__rand_int__\r\n"));
        assert!(bytes("zadd", true).contains("\r\n$12\r\n__rand_int__\r\n"));
        assert!(
            bytes("mset", true).starts_with("*21\r\n$4\r\nMSET\r\n$16\r\nkey:__rand_int__\r\n$3\r\nxyz\r\n")
        );
        assert!(bytes("xadd", true).starts_with("*5\r\n$4\r\nXADD\r\n$8\r\nmystream\r\n$1\r\n*\r\n"));
    }

    #[test]
    fn a_command_of_the_user_may_name_the_data() {
        let words: Vec<Vec<u8>> = [&b"set"[..], b"k", b"<__data__|__data__>"].map(<[u8]>::to_vec).into();
        let test = custom(&words, b"ab");
        assert_eq!(test.title, "set k <__data__|__data__>");
        assert_eq!(test.template, Template::of_words(&["set", "k", "<ab|ab>"]));
    }
}
