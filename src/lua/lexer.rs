//! Splits the source of a chunk into tokens.
//!
//! The lexer reads one token at a time, and one more in the single place where the grammar has to look ahead. Names are
//! slices of the source, as are strings without escapes; other strings are assembled in a buffer, which never outgrows
//! the source. The lexer also makes the messages of all syntax errors, since they quote the text of the last token as
//! it was read: with escapes already replaced.

use std::fmt;

use super::names::{chunk_id_of_syntax, until_zero};
use super::number;

/// A whole error message, as `load` returns it.
pub(super) type Message = Box<[u8]>;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Token<'s> {
    And,
    Break,
    Do,
    Else,
    Elseif,
    End,
    False,
    For,
    Function,
    If,
    In,
    Local,
    Nil,
    Not,
    Or,
    Repeat,
    Return,
    Then,
    True,
    Until,
    While,
    /// `..`
    Concatenate,
    /// `...`
    Dots,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
    /// `~=`
    NotEqual,
    Number(f64),
    Name(&'s [u8]),
    /// `Lexer::contents` has its bytes until the next token is read.
    String,
    EndOfSource,
    /// Any other byte, for itself.
    Symbol(u8),
}

/// Returns the keyword spelled `name`, or else the name.
fn word(name: &[u8]) -> Token<'_> {
    match name {
        b"and" => Token::And,
        b"break" => Token::Break,
        b"do" => Token::Do,
        b"else" => Token::Else,
        b"elseif" => Token::Elseif,
        b"end" => Token::End,
        b"false" => Token::False,
        b"for" => Token::For,
        b"function" => Token::Function,
        b"if" => Token::If,
        b"in" => Token::In,
        b"local" => Token::Local,
        b"nil" => Token::Nil,
        b"not" => Token::Not,
        b"or" => Token::Or,
        b"repeat" => Token::Repeat,
        b"return" => Token::Return,
        b"then" => Token::Then,
        b"true" => Token::True,
        b"until" => Token::Until,
        b"while" => Token::While,
        _ => Token::Name(name),
    }
}

/// Writes a token's kind as messages name it. Bytes beyond ASCII stand for themselves, so the result is bytes.
impl Token<'_> {
    pub(super) fn describe(self) -> Vec<u8> {
        let text = match self {
            Token::And => "and",
            Token::Break => "break",
            Token::Do => "do",
            Token::Else => "else",
            Token::Elseif => "elseif",
            Token::End => "end",
            Token::False => "false",
            Token::For => "for",
            Token::Function => "function",
            Token::If => "if",
            Token::In => "in",
            Token::Local => "local",
            Token::Nil => "nil",
            Token::Not => "not",
            Token::Or => "or",
            Token::Repeat => "repeat",
            Token::Return => "return",
            Token::Then => "then",
            Token::True => "true",
            Token::Until => "until",
            Token::While => "while",
            Token::Concatenate => "..",
            Token::Dots => "...",
            Token::Equal => "==",
            Token::GreaterOrEqual => ">=",
            Token::LessOrEqual => "<=",
            Token::NotEqual => "~=",
            Token::Number(_) => "<number>",
            Token::Name(_) => "<name>",
            Token::String => "<string>",
            Token::EndOfSource => "<eof>",
            Token::Symbol(byte) if byte.is_ascii_control() => return format!("char({byte})").into(),
            Token::Symbol(byte) => return vec![byte],
        };
        text.into()
    }
}

pub(super) struct Lexer<'s> {
    source: &'s [u8],
    chunk: &'s [u8],
    /// Where the next token begins, or the white space before it.
    position: usize,
    /// The parser's current token.
    pub(super) token: Token<'s>,
    ahead: Option<Token<'s>>,
    /// The line that `position` is in.
    pub(super) line: u32,
    /// The line where the token before `token` ended.
    pub(super) last_line: u32,
    /// Where the token read last begins.
    start: usize,
    /// Whether the text of that token is in `buffer`, and not simply the bytes from `start` to `position`.
    is_buffered: bool,
    buffer: Vec<u8>,
    /// The number of bytes around the contents of a string: its quotes or brackets.
    delimiter: usize,
}

impl<'s> Lexer<'s> {
    /// Starts without a token: call `advance`.
    pub(super) fn new(source: &'s [u8], chunk: &'s [u8]) -> Lexer<'s> {
        Lexer {
            source,
            chunk,
            position: 0,
            token: Token::EndOfSource,
            ahead: None,
            line: 1,
            last_line: 1,
            start: 0,
            is_buffered: false,
            buffer: Vec::new(),
            delimiter: 0,
        }
    }

    /// Advances to the next token.
    pub(super) fn advance(&mut self) -> Result<(), Message> {
        self.last_line = self.line;
        self.token = match self.ahead.take() {
            Some(token) => token,
            None => self.read()?,
        };
        Ok(())
    }

    /// The token after `token`, which must not be a string.
    pub(super) fn look_ahead(&mut self) -> Result<Token<'s>, Message> {
        debug_assert!(self.ahead.is_none() && self.token != Token::String);
        let token = self.read()?;
        self.ahead = Some(token);
        Ok(token)
    }

    /// The bytes of the string read last.
    pub(super) fn contents(&self) -> &[u8] {
        let text = self.text();
        &text[self.delimiter..text.len() - self.delimiter]
    }

    fn text(&self) -> &[u8] {
        if self.is_buffered { &self.buffer } else { &self.source[self.start..self.position] }
    }

    /// An error at the current line, without the text of a token.
    pub(super) fn error(&self, message: impl fmt::Display) -> Message {
        let mut text = chunk_id_of_syntax(self.chunk);
        text.extend_from_slice(format!(":{}: {message}", self.line).as_bytes());
        text.into()
    }

    /// An error at the current line, `near` a token: the current one, or the one being read.
    pub(super) fn error_near(&self, message: impl fmt::Display, near: Token) -> Message {
        let mut text = self.error(message).into_vec();
        // C strings end at a zero byte: as a token, it has no name, and the message no `near`.
        if near == Token::Symbol(0) {
            return text.into();
        }
        text.extend_from_slice(b" near '");
        match near {
            Token::Name(_) | Token::String | Token::Number(_) => {
                text.extend_from_slice(until_zero(self.text()));
            }
            _ => text.extend(near.describe()),
        }
        text.push(b'\'');
        text.into()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.source.get(self.position).copied()
    }

    /// Skips the byte at `position` if it is `byte`.
    #[inline]
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = &self.source[self.position..];
        self.position += rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
    }

    fn read(&mut self) -> Result<Token<'s>, Message> {
        loop {
            self.start = self.position;
            self.is_buffered = false;
            let Some(byte) = self.peek() else { return Ok(Token::EndOfSource) };
            match byte {
                b'\n' | b'\r' => {
                    self.new_line()?;
                    continue;
                }
                b' ' | b'\t' | b'\x0b' | b'\x0c' => {
                    self.position += 1;
                    continue;
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                    self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    return Ok(word(&self.source[self.start..self.position]));
                }
                b'0'..=b'9' => return self.numeral(),
                b'"' | b'\'' => return self.quoted(byte),
                _ => self.position += 1,
            }
            let token = match byte {
                b'-' if self.accept(b'-') => {
                    self.comment()?;
                    continue;
                }
                b'[' => return self.bracket(),
                b'=' if self.accept(b'=') => Token::Equal,
                b'<' if self.accept(b'=') => Token::LessOrEqual,
                b'>' if self.accept(b'=') => Token::GreaterOrEqual,
                b'~' if self.accept(b'=') => Token::NotEqual,
                // The reference implementation also accepts a zero byte as the second or third dot.
                b'.' if self.accept(b'.') || self.accept(0) => {
                    if self.accept(b'.') || self.accept(0) {
                        Token::Dots
                    } else {
                        Token::Concatenate
                    }
                }
                b'.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => return self.numeral(),
                _ => Token::Symbol(byte),
            };
            return Ok(token);
        }
    }

    /// Skips an end of line at `position`: any of `\n`, `\r`, `\r\n` and `\n\r`.
    fn new_line(&mut self) -> Result<(), Message> {
        let first = self.source[self.position];
        self.position += 1;
        match self.peek() {
            Some(second @ (b'\n' | b'\r')) if second != first => self.position += 1,
            _ => (),
        }
        self.line += 1;
        if self.line >= i32::MAX as u32 {
            return Err(self.error_near("chunk has too many lines", self.token));
        }
        Ok(())
    }

    /// Reads a number; `position` is at its start or after its leading dot.
    fn numeral(&mut self) -> Result<Token<'s>, Message> {
        self.skip_while(|byte| byte.is_ascii_digit() || byte == b'.');
        // The reference implementation accepts a zero byte as either of these, since it ends the C string of choices;
        // the rest of the numeral after it is not read.
        if self.accept(b'e') || self.accept(b'E') || self.accept(0) {
            let _has_sign = self.accept(b'+') || self.accept(b'-') || self.accept(0);
        }
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match number::parse(until_zero(&self.source[self.start..self.position])) {
            Some(number) => Ok(Token::Number(number)),
            None => Err(self.error_near("malformed number", Token::Number(0.0))),
        }
    }

    /// After `--`.
    fn comment(&mut self) -> Result<(), Message> {
        if self.accept(b'[')
            && let Some(level) = self.rest_of_bracket(b'[')
        {
            return self.long_text(level, "unfinished long comment");
        }
        self.skip_while(|byte| byte != b'\n' && byte != b'\r');
        Ok(())
    }

    /// After `[`: a long string, or the symbol.
    fn bracket(&mut self) -> Result<Token<'s>, Message> {
        match self.rest_of_bracket(b'[') {
            Some(level) => {
                self.long_text(level, "unfinished long string")?;
                self.delimiter = level + 2;
                Ok(Token::String)
            }
            None if self.position == self.start + 1 => Ok(Token::Symbol(b'[')),
            None => Err(self.error_near("invalid long string delimiter", Token::String)),
        }
    }

    /// After the first byte of a long bracket: skips the `=` that follow. If the byte `second` comes next, which is the
    /// same as the first, skips it too and returns the number of `=`.
    fn rest_of_bracket(&mut self, second: u8) -> Option<usize> {
        let start = self.position;
        self.skip_while(|byte| byte == b'=');
        let level = self.position - start;
        self.accept(second).then_some(level)
    }

    /// After the opening bracket of a long string or comment: advances past the closing one. The text of the token then
    /// has `
    /// ` for each end of line, without the one right after the opening bracket.
    fn long_text(&mut self, level: usize, unfinished: &str) -> Result<(), Message> {
        // The text from here on is not in the buffer yet, if the buffer is in use.
        let mut copied = self.start;
        let begin = self.position;
        loop {
            self.skip_while(|byte| !matches!(byte, b'[' | b']' | b'\n' | b'\r'));
            let at = self.position;
            match self.peek() {
                None => return Err(self.error_near(unfinished, Token::EndOfSource)),
                Some(b'[') => {
                    self.position += 1;
                    if level == 0 && self.peek() == Some(b'[') {
                        return Err(self.error_near("nesting of [[...]] is deprecated", Token::Symbol(b'[')));
                    }
                }
                Some(b']') => {
                    self.position += 1;
                    match self.rest_of_bracket(b']') {
                        Some(found) if found == level => break,
                        // The second bracket may be the first byte of the matching pair.
                        Some(_) => self.position -= 1,
                        None => (),
                    }
                }
                Some(_) => {
                    self.new_line()?;
                    let is_skipped = at == begin;
                    if is_skipped || self.source[at..self.position] != *b"\n" {
                        if !self.is_buffered {
                            self.is_buffered = true;
                            self.buffer.clear();
                        }
                        self.buffer.extend_from_slice(&self.source[copied..at]);
                        if !is_skipped {
                            self.buffer.push(b'\n');
                        }
                        copied = self.position;
                    }
                }
            }
        }
        if self.is_buffered {
            self.buffer.extend_from_slice(&self.source[copied..self.position]);
        }
        Ok(())
    }

    /// A string that begins at `position` with `quote`.
    fn quoted(&mut self, quote: u8) -> Result<Token<'s>, Message> {
        self.delimiter = 1;
        self.position += 1;
        let mut copied = self.start;
        loop {
            self.skip_while(|byte| !matches!(byte, b'"' | b'\'' | b'\\' | b'\n' | b'\r'));
            if self.is_buffered {
                self.buffer.extend_from_slice(&self.source[copied..self.position]);
                copied = self.position;
            }
            match self.peek() {
                None => return Err(self.error_near("unfinished string", Token::EndOfSource)),
                Some(b'\n' | b'\r') => return Err(self.error_near("unfinished string", Token::String)),
                Some(b'\\') => {
                    if !self.is_buffered {
                        self.is_buffered = true;
                        self.buffer.clear();
                        self.buffer.extend_from_slice(&self.source[self.start..self.position]);
                    }
                    self.position += 1;
                    self.escape()?;
                    copied = self.position;
                }
                Some(byte) => {
                    self.position += 1;
                    if byte == quote {
                        break;
                    }
                }
            }
        }
        if self.is_buffered {
            self.buffer.push(quote);
        }
        Ok(Token::String)
    }

    /// After a backslash: appends the bytes of the escape to the buffer.
    fn escape(&mut self) -> Result<(), Message> {
        // At the end of the source, the caller reports the unfinished string.
        let Some(byte) = self.peek() else { return Ok(()) };
        let meaning = match byte {
            b'a' => b'\x07',
            b'b' => b'\x08',
            b'f' => b'\x0c',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => b'\x0b',
            b'\n' | b'\r' => {
                self.buffer.push(b'\n');
                return self.new_line();
            }
            b'0'..=b'9' => return self.decimal_escape(),
            other => other,
        };
        self.buffer.push(meaning);
        self.position += 1;
        Ok(())
    }

    /// One to three digits.
    fn decimal_escape(&mut self) -> Result<(), Message> {
        let mut code = 0u32;
        for _ in 0..3 {
            let Some(digit @ b'0'..=b'9') = self.peek() else { break };
            code = code * 10 + u32::from(digit - b'0');
            self.position += 1;
        }
        match u8::try_from(code) {
            Ok(byte) => {
                self.buffer.push(byte);
                Ok(())
            }
            Err(_) => Err(self.error_near("escape sequence too large", Token::String)),
        }
    }
}
