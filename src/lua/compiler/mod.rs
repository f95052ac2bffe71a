//! Compiles the source of a chunk in one pass: the parser emits instructions while it reads tokens, and builds no tree.
//!
//! One pass suffices because an expression is not put into a register when it is read, but described (`Expression`): a
//! constant, a local variable, a field of a table in a register, an instruction that has no destination yet, a
//! comparison that jumps. The description turns into instructions only when the use of the value is known
//! (`values.rs`). Jumps whose target is not known yet are linked through the instructions themselves (`jumps.rs`).
//!
//! | file | contents |
//! |---|---|
//! | `statements.rs`, `expressions.rs` | the grammar |
//! | `operators.rs` | instructions of operators, constant folding |
//! | `values.rs` | from a description to a register, a constant, a store |
//! | `jumps.rs` | lists of jumps, and conditions |
//! | `scope.rs` | blocks, local variables, upvalues |
//! | `function.rs` | the function being compiled: code and registers |
//! | `constants.rs` | its constants |
//!
//! The instructions are in the order in which the reference implementation of Lua 5.1 emits its own, with the same
//! lines, since the evaluation order and the error messages follow from them. The limits are the same too. Nesting is
//! limited to 200 levels, which bounds the recursion of the parser.

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

/// The maximum nesting depth of blocks, functions and expressions.
const MOST_LEVELS: usize = 200;

type Result<T> = std::result::Result<T, Message>;

/// A longer source is rejected, since compiling cannot be suspended.
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
    /// The function being compiled, and the functions around it, outermost first.
    function: Function<'s>,
    enclosing: Vec<Function<'s>>,
    /// Finished functions, whose memory is reused.
    spare: Vec<Function<'s>>,
    /// The number of functions begun so far; numbers them.
    functions: u32,
    /// The index of each constant of each function, keyed by the function's number.
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

    /// Returns a syntax error at the current token.
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

    /// Advances past the current token if it is `token`. Returns whether it was.
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

    /// Expects `close`, which matches `open` in `line`.
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

    /// Enters a nesting level; `leave` ends it.
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

    /// Checks a limit of `function`, which has `value` of `what`.
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
