//! Compiles the source of a chunk in one pass: the parser emits instructions while it reads tokens, and keeps no tree.
//!
//! What makes that possible is that an expression is not put into a register when it is read, but described
//! (`Expression`): a constant, a local variable, a field of a table in a register, an instruction which has no
//! destination yet, a comparison that jumps. Only when it is known what the value is for does the description turn into
//! instructions (`values.rs`). Jumps whose target is not known yet are linked through the instructions themselves
//! (`jumps.rs`).
//!
//! | file | what it has |
//! |---|---|
//! | `statements.rs`, `expressions.rs` | the grammar |
//! | `operators.rs` | instructions of operators, constants folded |
//! | `values.rs` | from a description to a register, a constant, a store |
//! | `jumps.rs` | lists of jumps, and conditions |
//! | `scope.rs` | blocks, local variables, upvalues |
//! | `function.rs` | the function in the making: code and registers |
//! | `constants.rs` | its constants |
//!
//! The instructions are in the order in which the reference implementation of Lua 5.1 emits its own, with the same
//! lines, since the order of evaluation and the texts of errors follow from them. So are the limits; nesting is limited
//! to 200 levels, which bounds the recursion of the parser.

mod constants;
mod expressions;
mod function;
mod jumps;
mod operators;
mod scope;
mod statements;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::rc::Rc;

use self::constants::{Constant, Seeded};
use self::function::Function;
use self::values::Expression;
use super::code::Prototype;
use super::heap::Heap;
use super::lexer::{Lexer, Message, Token};
use super::names;

/// How deep blocks, functions and expressions may nest.
const MOST_LEVELS: usize = 200;

type Result<T> = std::result::Result<T, Message>;

/// A longer source is refused, since compiling cannot be suspended.
const LONGEST_SOURCE: usize = 32 << 20;

/// Compiles `source`. `chunk` is its name as `load` takes it: `@` and the name of a file, `=` and a name to show as it
/// is, or the source itself. An error is the whole message: `chunk:line: what near 'token'`.
pub fn compile(source: &[u8], chunk: &[u8], heap: &mut Heap) -> std::result::Result<Rc<Prototype>, Vec<u8>> {
    if source.len() > LONGEST_SOURCE {
        return Err([&names::chunk_id(chunk)[..], b": the source is too long"].concat());
    }
    Compiler::new(source, chunk, heap).chunk().map_err(<[u8]>::into_vec)
}

struct Compiler<'s, 'h> {
    lexer: Lexer<'s>,
    heap: &'h mut Heap,
    chunk: Rc<[u8]>,
    /// The function that is being compiled, and those around it, from the outermost.
    function: Function<'s>,
    enclosing: Vec<Function<'s>>,
    /// Finished ones, whose memory is used again.
    spare: Vec<Function<'s>>,
    /// How many functions have been begun: each has a number of its own.
    functions: u32,
    /// The index of each constant of each function, by the number of the function.
    constants: HashMap<(u32, Constant), u32, Seeded>,
    level: usize,
}

impl<'s, 'h> Compiler<'s, 'h> {
    fn new(source: &'s [u8], chunk: &'s [u8], heap: &'h mut Heap) -> Compiler<'s, 'h> {
        Compiler {
            lexer: Lexer::new(source, chunk),
            heap,
            chunk: names::kept(chunk).into(),
            function: Function::new(0, 0),
            enclosing: Vec::new(),
            spare: Vec::new(),
            functions: 1,
            constants: HashMap::with_hasher(Seeded::new()),
            level: 0,
        }
    }

    fn chunk(mut self) -> Result<Rc<Prototype>> {
        self.function.is_variadic = true;
        self.lexer.advance()?;
        self.statements()?;
        if self.lexer.token != Token::EndOfSource {
            return Err(self.expected(Token::EndOfSource));
        }
        self.finish_function(0)
    }

    /// An error of syntax at the current token.
    fn syntax_error(&self, message: impl std::fmt::Display) -> Message {
        self.lexer.error_near(message, self.lexer.token)
    }

    fn expected(&self, token: Token) -> Message {
        self.syntax_error(format_args!("'{}' expected", String::from_utf8_lossy(&token.describe())))
    }

    #[inline]
    fn is_at(&self, symbol: u8) -> bool {
        matches!(self.lexer.token, Token::Symbol(byte) if byte == symbol)
    }

    /// Goes past the current token if it is `token`.
    fn accept(&mut self, token: Token) -> Result<bool> {
        let found = self.lexer.token == token;
        if found {
            self.lexer.advance()?;
        }
        Ok(found)
    }

    #[inline]
    fn accept_symbol(&mut self, symbol: u8) -> Result<bool> {
        let found = self.is_at(symbol);
        if found {
            self.lexer.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, token: Token) -> Result<()> {
        if !self.accept(token)? {
            return Err(self.expected(token));
        }
        Ok(())
    }

    fn expect_symbol(&mut self, symbol: u8) -> Result<()> {
        self.expect(Token::Symbol(symbol))
    }

    /// Expects `close`, which ends what `open` in `line` began.
    fn expect_closing(&mut self, close: Token, open: Token, line: u32) -> Result<()> {
        if self.accept(close)? {
            return Ok(());
        }
        if line == self.lexer.line {
            return Err(self.expected(close));
        }
        let (close, open) = (close.describe(), open.describe());
        let (close, open) = (String::from_utf8_lossy(&close), String::from_utf8_lossy(&open));
        Err(self.syntax_error(format_args!("'{close}' expected (to close '{open}' at line {line})")))
    }

    fn name(&mut self) -> Result<&'s [u8]> {
        let Token::Name(name) = self.lexer.token else {
            return Err(self.syntax_error("'<name>' expected"));
        };
        self.lexer.advance()?;
        Ok(name)
    }

    /// A name as a constant: the key of a field.
    fn name_constant(&mut self) -> Result<Expression> {
        let name = self.name()?;
        Ok(Expression::constant(self.string_constant(name)?))
    }

    /// Begins a level of nesting; `leave` ends it.
    fn enter(&mut self) -> Result<()> {
        self.level += 1;
        if self.level > MOST_LEVELS {
            return Err(self.lexer.error("chunk has too many syntax levels"));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.level -= 1;
    }

    /// Checks a limit of `function`, which is `value` `what`.
    fn check_limit(&self, function: &Function, value: usize, limit: usize, what: &str) -> Result<()> {
        if value <= limit {
            return Ok(());
        }
        Err(match function.line {
            0 => self.lexer.error(format_args!("main function has more than {limit} {what}")),
            line => self.lexer.error(format_args!("function at line {line} has more than {limit} {what}")),
        })
    }
}
