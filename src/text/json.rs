//! Writes JSON from start to end, without a tree of values.

use std::fmt::Write as _;

/// A JSON value being written: text, with commas where they belong.
#[derive(Debug, Default)]
pub struct Writer {
    /// The text written so far.
    pub out: String,
}

impl Writer {
    fn comma(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with(['{', '[', ':']) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.string(key);
        self.out.push(':');
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => self.out.extend(['\\', character]),
                ' '.. => self.out.push(character),
                control => _ = write!(self.out, "\\u{:04x}", u32::from(control)),
            }
        }
        self.out.push('"');
    }

    /// Writes a member that is a string.
    pub fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.string(text);
    }

    /// Writes a member that is a whole number or null.
    pub fn whole(&mut self, key: &str, number: impl Into<Option<u64>>) {
        self.key(key);
        match number.into() {
            Some(number) => _ = write!(self.out, "{number}"),
            None => self.out.push_str("null"),
        }
    }

    /// Writes a member that is a number with up to three decimals, or null, which also stands for infinities and NaN.
    pub fn real(&mut self, key: &str, number: impl Into<Option<f64>>) {
        self.key(key);
        match number.into().filter(|number| number.is_finite()) {
            Some(number) => _ = write!(self.out, "{}", (number * 1000.0).round() / 1000.0),
            None => self.out.push_str("null"),
        }
    }

    /// Writes a member that is true or false.
    pub fn flag(&mut self, key: &str, is_set: bool) {
        self.key(key);
        self.out.push_str(if is_set { "true" } else { "false" });
    }

    /// Writes a member that is an object; `fill` writes its members.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Writer)) {
        self.key(key);
        self.braces(fill);
    }

    /// Writes an object as the whole document or as an element.
    pub fn braces(&mut self, fill: impl FnOnce(&mut Writer)) {
        self.out.push('{');
        fill(self);
        self.out.push('}');
    }

    /// Writes a member that is an array; `write` writes its elements.
    pub fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T),
    ) {
        self.key(key);
        self.out.push('[');
        for item in items {
            self.comma();
            write(self, item);
        }
        self.out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_are_short() {
        let mut writer = Writer::default();
        writer.braces(|object| {
            object.text("a\"b", "c\\d\n\u{e9}");
            object.real("x", 1.0 / 3.0);
            object.real("whole", 1e6);
            object.real("none", None);
            object.real("nan", f64::NAN);
            object.object("inner", |inner| inner.flag("yes", true));
            object.object("empty", |_| {});
            object.whole("last", Some(1));
            object.whole("exact", u64::MAX);
            object.array("all", [1, 2], |writer, item| writer.braces(|one| one.whole("n", item)));
        });
        assert_eq!(
            writer.out,
            "{\"a\\\"b\":\"c\\\\d\\u000aé\",\"x\":0.333,\"whole\":1000000,\"none\":null,\"nan\":null,\
            \"inner\":{\"yes\":true},\"empty\":{},\"last\":1,\"exact\":18446744073709551615,\
            \"all\":[{\"n\":1},{\"n\":2}]}"
        );
    }
}
