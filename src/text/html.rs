//! Untrusted text in HTML pages.

use std::fmt::{self, Write};

/// Untrusted text, escaped to stand between tags and in attributes. Control characters are replaced.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                control if control.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_leave_its_place() {
        let text = "<a href=\"x\" id='y'>&amp;é\n";
        let escaped = "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;é\u{fffd}";
        assert_eq!(Escaped(text).to_string(), escaped);
    }
}
