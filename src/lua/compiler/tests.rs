//! The instructions compiled from small chunks, and the error messages for invalid ones. The expected messages and the
//! order of instructions are the reference implementation's.

use std::fmt::Write;

use super::*;
use crate::lua::code::{Capture, Instruction};
use crate::lua::names;

fn heap() -> Heap {
    Heap::new(0, 64 << 20)
}

fn function(source: &str) -> Rc<Prototype> {
    compile(source.as_bytes(), b"=test", &mut heap()).unwrap_or_else(|error| panic!("{}", show(&error)))
}

/// Returns the error message without the name of the chunk.
fn message(source: &[u8]) -> Vec<u8> {
    match compile(source, b"=c", &mut heap()) {
        Ok(_) => b"none".to_vec(),
        Err(error) => error.strip_prefix(b"c:").unwrap_or(&error).to_vec(),
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Lists the instructions, one per line.
fn listing(function: &Prototype) -> String {
    let mut text = String::new();
    for (instruction, line) in function.code.iter().zip(&function.lines) {
        let _ = writeln!(text, "{line} {instruction:?}");
    }
    text.replace("Operand(", "(")
}

#[track_caller]
fn assert_listing(source: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let listing = listing(&function(source));
    assert_eq!(listing.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn locals_live_in_registers_and_assignments_evaluate_from_the_left() {
    assert_listing(
        "local a, b, c = 1, 2\na, b = b, a",
        "
        1 LoadConstant { to: 0, constant: 0 }
        1 LoadConstant { to: 1, constant: 1 }
        1 LoadNil { first: 2, last: 2 }
        2 Move { to: 3, from: 1 }
        2 Move { to: 1, from: 0 }
        2 Move { to: 0, from: 3 }
        2 Return { first: 0, values: 1 }
        ",
    );
}

#[test]
fn a_table_that_the_same_statement_overwrites_is_kept_for_its_field() {
    assert_listing(
        "local a, i; a[i], a, i = 1, 2, 3",
        "
        1 Move { to: 2, from: 0 }
        1 Move { to: 3, from: 1 }
        1 LoadConstant { to: 4, constant: 0 }
        1 LoadConstant { to: 5, constant: 1 }
        1 LoadConstant { to: 1, constant: 2 }
        1 Move { to: 0, from: 5 }
        1 SetTable { table: 2, key: (3), value: (4) }
        1 Return { first: 0, values: 1 }
        ",
    );
}

#[test]
fn conditions_become_jumps_and_values_only_where_they_are_needed() {
    assert_listing(
        "local a, b = ...\nif a and not b then f() end\nreturn a or b == 1",
        "
        1 VarArguments { to: 0, count: 3 }
        2 Test { value: 0, expected: false }
        2 Jump { by: 4 }
        2 Test { value: 1, expected: true }
        2 Jump { by: 2 }
        2 GetGlobal { to: 2, name: 0 }
        2 Call { function: 2, arguments: 1, results: 1 }
        3 TestSet { to: 2, from: 0, expected: true }
        3 Jump { by: 4 }
        3 Equal { expected: true, left: (1), right: (257) }
        3 Jump { by: 1 }
        3 LoadBoolean { to: 2, value: false, skip: true }
        3 LoadBoolean { to: 2, value: true, skip: false }
        3 Return { first: 2, values: 2 }
        3 Return { first: 0, values: 1 }
        ",
    );
}

#[test]
fn constants_are_folded_except_where_the_result_is_not_a_number() {
    assert_listing(
        "return -2^2 + 7 % 4 * 10, 1/0, 0/0, 5 % 0, #'a'",
        "
        1 LoadConstant { to: 0, constant: 0 }
        1 Divide { to: 1, left: (258), right: (257) }
        1 Divide { to: 2, left: (257), right: (257) }
        1 Modulo { to: 3, left: (259), right: (257) }
        1 LoadConstant { to: 4, constant: 4 }
        1 Length { to: 4, from: 4 }
        1 Return { first: 0, values: 6 }
        1 Return { first: 0, values: 1 }
        ",
    );
    assert!(matches!(
        function("return -2^2 + 7 % 4 * 10").constants[0],
        crate::lua::value::Value::Number(26.0)
    ));
}

#[test]
fn loops_jump_back_and_captured_variables_are_closed_each_time() {
    assert_listing(
        "for i = 1, 10 do\n local function g() return i end\n if g then break end\nend",
        "
        1 LoadConstant { to: 0, constant: 0 }
        1 LoadConstant { to: 1, constant: 1 }
        1 LoadConstant { to: 2, constant: 0 }
        1 ForPrepare { base: 0, by: 6 }
        2 Closure { to: 4, prototype: 0 }
        3 Test { value: 4, expected: false }
        3 Jump { by: 2 }
        3 Close { from: 0 }
        3 Jump { by: 2 }
        3 Close { from: 3 }
        1 ForLoop { base: 0, by: -7 }
        4 Return { first: 0, values: 1 }
        ",
    );
    assert_listing(
        "for k, v in pairs(t) do\n print(k)\nend",
        "
        1 GetGlobal { to: 0, name: 0 }
        1 GetGlobal { to: 1, name: 1 }
        1 Call { function: 0, arguments: 2, results: 4 }
        1 Jump { by: 3 }
        2 GetGlobal { to: 5, name: 2 }
        2 Move { to: 6, from: 3 }
        2 Call { function: 5, arguments: 2, results: 1 }
        1 IterateCall { base: 0, results: 2 }
        1 IterateNext { base: 0, by: -5 }
        3 Return { first: 0, values: 1 }
        ",
    );
}

#[test]
fn a_constructor_stores_its_elements_in_batches_and_all_of_the_last_call() {
    assert_listing(
        "return {1, x = 2, [3] = 4; f()}",
        "
        1 NewTable { to: 0, array: 1, hash: 2 }
        1 LoadConstant { to: 1, constant: 0 }
        1 SetTable { table: 0, key: (257), value: (258) }
        1 SetTable { table: 0, key: (259), value: (260) }
        1 GetGlobal { to: 2, name: 5 }
        1 Call { function: 2, arguments: 1, results: 0 }
        1 SetList { table: 0, count: 0, start: 0 }
        1 Return { first: 0, values: 2 }
        1 Return { first: 0, values: 1 }
        ",
    );
    let many = function(&format!("return {{{}}}", "0,".repeat(120)));
    let stores: Vec<_> =
        many.code.iter().filter(|step| matches!(step, Instruction::SetList { .. })).collect();
    assert_eq!(
        stores,
        [(50, 0), (50, 50), (20, 100)]
            .map(|(count, start)| Instruction::SetList { table: 0, count, start })
            .each_ref()
    );
}

#[test]
fn a_call_has_the_line_of_its_arguments_and_a_tail_call_leaves_the_frame() {
    assert_listing(
        "f(\n1,\n2)\nreturn a:m\n'x'",
        "
        1 GetGlobal { to: 0, name: 0 }
        2 LoadConstant { to: 1, constant: 1 }
        3 LoadConstant { to: 2, constant: 2 }
        1 Call { function: 0, arguments: 3, results: 1 }
        4 GetGlobal { to: 0, name: 3 }
        4 Method { to: 0, object: 0, name: (260) }
        5 LoadConstant { to: 2, constant: 5 }
        5 TailCall { function: 0, arguments: 3 }
        5 Return { first: 0, values: 0 }
        5 Return { first: 0, values: 1 }
        ",
    );
}

#[test]
fn functions_in_between_capture_what_inner_ones_use() {
    let chunk = function("local a, b\nfunction f() return function() return b, a, b end end");
    let outer = &chunk.prototypes[0];
    let inner = &outer.prototypes[0];
    assert_eq!(*outer.captures, [Capture::Register(1), Capture::Register(0)]);
    assert_eq!(*inner.captures, [Capture::Upvalue(0), Capture::Upvalue(1)]);
    assert_eq!(inner.upvalue_names.iter().map(|name| show(name)).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!((outer.line, outer.last_line), (2, 2));
}

#[test]
fn a_variadic_function_wants_arg_unless_it_uses_the_dots() {
    let chunk = function("function f(a, ...) return arg end function g(a, b, ...) return ... end");
    let (f, g) = (&chunk.prototypes[0], &chunk.prototypes[1]);
    assert_eq!((f.parameters, f.is_variadic, f.wants_arg), (1, true, true));
    assert_eq!((g.parameters, g.is_variadic, g.wants_arg), (2, true, false));
    assert_eq!(f.code[0], Instruction::Return { first: 1, values: 2 });
    assert!(chunk.is_variadic && !chunk.wants_arg);
}

#[test]
fn both_zeros_are_one_constant() {
    assert_eq!(function("return 0, -0").constants.len(), 1);
}

#[test]
fn a_local_variable_is_seen_after_its_statement_until_its_block_ends() {
    let chunk = function("local a = a do local b = a end return a");
    let scopes: Vec<_> =
        chunk.locals.iter().map(|local| (show(&local.name), local.begin, local.end)).collect();
    assert_eq!(scopes, [("a".to_owned(), 1, 3), ("b".to_owned(), 2, 2)]);
}

#[test]
fn wrong_chunks_have_the_messages_of_the_reference() {
    for (source, expected) in WRONG {
        assert_eq!(show(&message(source)), show(expected), "{}", show(source));
    }
}

#[test]
fn nesting_is_limited() {
    let deep = |open: &str, close: &str, levels: usize| {
        show(&message((open.repeat(levels) + &close.repeat(levels)).as_bytes()))
    };
    let error = "1: chunk has too many syntax levels";
    assert_eq!(deep("do ", "end ", 199), "none");
    assert_eq!(deep("do ", "end ", 200), error);
    assert_eq!(deep("f(", ")", 50_000), error);
    assert_eq!(deep("return function() ", " end", 50_000), error);
    for part in ["a..", "not ", "(", "{"] {
        assert_eq!(show(&message(format!("x = {}", part.repeat(50_000)).as_bytes())), error);
    }
    // These do not nest anything.
    for source in [
        "x = a".to_owned() + &".a".repeat(50_000),
        "f()".repeat(50_000) + " if a then" + &" elseif a then".repeat(20_000) + " end",
    ] {
        assert_eq!(show(&message(source.as_bytes())), "none");
    }
}

#[test]
fn what_a_function_has_is_limited() {
    let lines = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let locals = |count| lines(count, |n| format!("local a{n} "));
    let uses = |count| lines(count, |n| format!("a{n}() "));
    let check = |source: String, expected: &str| {
        assert_eq!(show(&message(source.as_bytes())), show(expected.as_bytes()));
    };

    check(locals(200), "none");
    check(locals(201), "1: main function has more than 200 local variables");
    check(
        format!("\nfunction f()\n{} end", locals(201)),
        "3: function at line 2 has more than 200 local variables",
    );
    check(locals(197) + "for i = 1, 2 do end", "1: main function has more than 200 local variables");
    check(locals(60) + "function f() " + &uses(60) + "end", "none");
    check(
        locals(61) + "function f() " + &uses(61) + "end",
        "1: function at line 1 has more than 60 upvalues",
    );
    check(
        "local a; ".to_owned() + &"a, ".repeat(200) + "a = 1",
        "1: main function has more than 199 variables in assignment",
    );
    check(format!("f({}1)", "1, ".repeat(247)), "none");
    check(format!("f({}1)", "1, ".repeat(248)), "1: function or expression too complex near '<eof>'");
    check("do local a end ".repeat(32_768), "too many local variables");
    check(format!("if a then {} end", "x = 1 ".repeat(70_000)), "1: control structure too long near '<eof>'");
    check(format!("x = {{{}}}", lines(262_143, |n| format!("{n},"))), "constant table overflow");
}

#[test]
fn the_text_of_a_chunk_may_be_any_bytes() {
    for byte in 0..=255 {
        for source in
            [vec![byte], vec![b'x', byte], vec![b'x', b'=', b'"', b'\\', byte], vec![b'[', b'=', byte, b'[']]
        {
            let error = message(&source);
            assert!(
                error == b"none" || error.starts_with(b"1: ") || error.starts_with(b"2: "),
                "{}",
                show(&error)
            );
        }
    }
}

/// Returns the name that an error in the last matching instruction of `source` would use for its operand.
fn name_of(source: &str, wanted: fn(Instruction) -> Option<u8>) -> Option<String> {
    let mut heap = heap();
    let function =
        compile(source.as_bytes(), b"=c", &mut heap).unwrap_or_else(|error| panic!("{}", show(&error)));
    let (pc, register) = function
        .code
        .iter()
        .enumerate()
        .rev()
        .find_map(|(pc, &step)| Some((pc, wanted(step)?)))
        .unwrap_or_else(|| panic!("{source}: no such instruction"));
    let (kind, name) = names::of_register(&function, pc, register, &heap)?;
    Some(format!("{kind} '{}'", show(&name)))
}

#[test]
fn a_function_that_is_called_has_the_name_of_the_variable() {
    let called = |step| match step {
        Instruction::Call { function, .. } | Instruction::TailCall { function, .. } => Some(function),
        Instruction::IterateCall { base, .. } => Some(base),
        _ => None,
    };
    for (source, expected) in [
        ("f()", Some("global 'f'")),
        ("local f; f(1, 2)", Some("local 'f'")),
        ("local t = {}; t.a.b()", Some("field 'b'")),
        ("local t = {}; t:m()", Some("method 'm'")),
        ("local t = {}; t[1]()", Some("field '?'")),
        ("local t = {}; t[t]()", Some("field '?'")),
        ("(function() end)()", None),
        ("(a or b)()", None),
        ("local t; (t.x and t.y or t.z)()", Some("field 'z'")),
        ("if a then b() else c() end", Some("global 'c'")),
        ("local x = a and b() or c()", Some("global 'c'")),
        ("(x == 1 and a or b)()", Some("global 'b'")),
        ("for i in nil do end", Some("local '(for generator)'")),
        ("return ('x')()", None),
    ] {
        assert_eq!(name_of(source, called).as_deref(), expected, "{source}");
    }
}

#[test]
fn a_value_that_is_indexed_has_the_name_of_the_variable() {
    let indexed = |step| match step {
        Instruction::GetTable { table, .. } | Instruction::SetTable { table, .. } => Some(table),
        _ => None,
    };
    for (source, expected) in [
        ("local a; local b = a.b", Some("local 'a'")),
        ("a.b = 1", Some("global 'a'")),
        ("local t; t.x.y = 1", Some("field 'x'")),
        ("local k; local t; t[k].y = 1", Some("field '?'")),
        ("f().x = 1", None),
    ] {
        assert_eq!(name_of(source, indexed).as_deref(), expected, "{source}");
    }
}

#[test]
fn names_of_chunks_are_cut_to_fit_a_message() {
    let long = "x".repeat(100);
    for (chunk, expected) in [
        ("=name".to_owned(), "name".to_owned()),
        ("@file.lua".to_owned(), "file.lua".to_owned()),
        ("x = 1".to_owned(), "[string \"x = 1\"]".to_owned()),
        ("x = 1\ny".to_owned(), "[string \"x = 1...\"]".to_owned()),
        (String::new(), "[string \"\"]".to_owned()),
        (format!("={long}"), "x".repeat(59)),
        (format!("@{long}"), format!("...{}", "x".repeat(52))),
        (long.clone(), format!("[string \"{}...\"]", "x".repeat(43))),
        ("a\0b".to_owned(), "[string \"a\"]".to_owned()),
    ] {
        assert_eq!(show(&names::chunk_id(chunk.as_bytes())), show(expected.as_bytes()));
    }
    // Syntax errors have more room for the chunk's name.
    let error = compile(b"x", format!("={long}").as_bytes(), &mut heap()).expect_err("wrong");
    assert_eq!(show(&error), format!("{}:1: \\'=\\' expected near \\'<eof>\\'", "x".repeat(79)));
}

/// Invalid chunks, and their messages without the name of the chunk.
#[rustfmt::skip]
const WRONG: &[(&[u8], &[u8])] = &[
    (b"x=\"a", b"1: unfinished string near '<eof>'"),
    (b"x=\"a\n", b"1: unfinished string near '\"a'"),
    (b"x=\"a\\", b"1: unfinished string near '<eof>'"),
    (b"x=\"a\\\n", b"2: unfinished string near '<eof>'"),
    (b"x=\"a\\\nb\" \"c\"", b"2: unexpected symbol near '\"c\"'"),
    (b"x='a\\065b\n", b"1: unfinished string near ''aAb'"),
    (b"x=\"\\300\"", b"1: escape sequence too large near '\"'"),
    (b"x=\"ab\\999\"", b"1: escape sequence too large near '\"ab'"),
    (b"x=\"\\25a\\256\"", b"1: escape sequence too large near '\"\x19a'"),
    (b"x=[[a", b"1: unfinished long string near '<eof>'"),
    (b"--[[", b"1: unfinished long comment near '<eof>'"),
    (b"x=[[ [[ ]]", b"1: nesting of [[...]] is deprecated near '['"),
    (b"--[[ [[ ]]", b"1: nesting of [[...]] is deprecated near '['"),
    (b"x=[=", b"1: invalid long string delimiter near '[='"),
    (b"x=[=a", b"1: invalid long string delimiter near '[='"),
    (b"--[=\nx", b"2: '=' expected near '<eof>'"),
    (b"3", b"1: unexpected symbol near '3'"),
    (b"x=3x", b"1: malformed number near '3x'"),
    (b"x=3e", b"1: malformed number near '3e'"),
    (b"x=3e+", b"1: malformed number near '3e+'"),
    (b"x=0x", b"1: malformed number near '0x'"),
    (b"x=1..2", b"1: malformed number near '1..2'"),
    (b"x=1.2.3", b"1: malformed number near '1.2.3'"),
    (b"x=12_3", b"1: malformed number near '12_3'"),
    (b"f\n()", b"2: ambiguous syntax (function call x new statement) near '('"),
    (b"x=f\n()", b"2: ambiguous syntax (function call x new statement) near '('"),
    (b"(f)\n(g)", b"2: ambiguous syntax (function call x new statement) near '('"),
    (b"x:", b"1: '<name>' expected near '<eof>'"),
    (b"x:y", b"1: function arguments expected near '<eof>'"),
    (b"x:y=1", b"1: function arguments expected near '='"),
    (b"x.", b"1: '<name>' expected near '<eof>'"),
    (b"x[", b"1: unexpected symbol near '<eof>'"),
    (b"x[]", b"1: unexpected symbol near ']'"),
    (b"break", b"1: no loop to break near '<eof>'"),
    (b"while a do break x end", b"1: 'end' expected near 'x'"),
    (b"return return", b"1: unexpected symbol near 'return'"),
    (b"return 1 x", b"1: '<eof>' expected near 'x'"),
    (b"if", b"1: unexpected symbol near '<eof>'"),
    (b"if x", b"1: 'then' expected near '<eof>'"),
    (b"if x then", b"1: 'end' expected near '<eof>'"),
    (b"if x then else elseif", b"1: 'end' expected near 'elseif'"),
    (b"if x\nthen\n", b"3: 'end' expected (to close 'if' at line 1) near '<eof>'"),
    (b"if x then\nelseif y then\nelse\n", b"4: 'end' expected (to close 'if' at line 1) near '<eof>'"),
    (b"while x", b"1: 'do' expected near '<eof>'"),
    (b"while x do\n", b"2: 'end' expected (to close 'while' at line 1) near '<eof>'"),
    (b"for", b"1: '<name>' expected near '<eof>'"),
    (b"for x", b"1: '=' or 'in' expected near '<eof>'"),
    (b"for x=", b"1: unexpected symbol near '<eof>'"),
    (b"for x=1", b"1: ',' expected near '<eof>'"),
    (b"for x=1,2", b"1: 'do' expected near '<eof>'"),
    (b"for x=1,2 do\n", b"2: 'end' expected (to close 'for' at line 1) near '<eof>'"),
    (b"for x,", b"1: '<name>' expected near '<eof>'"),
    (b"for 1", b"1: '<name>' expected near '1'"),
    (b"repeat", b"1: 'until' expected near '<eof>'"),
    (b"repeat\n", b"2: 'until' expected (to close 'repeat' at line 1) near '<eof>'"),
    (b"repeat\nx()\n", b"3: 'until' expected (to close 'repeat' at line 1) near '<eof>'"),
    (b"function", b"1: '<name>' expected near '<eof>'"),
    (b"function f", b"1: '(' expected near '<eof>'"),
    (b"function f(a,)", b"1: <name> or '...' expected near ')'"),
    (b"function f(...,a)", b"1: ')' expected near ','"),
    (b"function f()\n", b"2: 'end' expected (to close 'function' at line 1) near '<eof>'"),
    (b"function f:g:h()", b"1: '(' expected near ':'"),
    (b"local", b"1: '<name>' expected near '<eof>'"),
    (b"local 1", b"1: '<name>' expected near '1'"),
    (b"local function f.g()", b"1: '(' expected near '.'"),
    (b"local x,", b"1: '<name>' expected near '<eof>'"),
    (b"function f() x = ... end", b"1: cannot use '...' outside a vararg function near '...'"),
    (b"x={", b"1: unexpected symbol near '<eof>'"),
    (b"x={1", b"1: '}' expected near '<eof>'"),
    (b"x={\n1", b"2: '}' expected (to close '{' at line 1) near '<eof>'"),
    (b"x={[1", b"1: ']' expected near '<eof>'"),
    (b"x={[1]", b"1: '=' expected near '<eof>'"),
    (b"x={a b}", b"1: '}' expected near 'b'"),
    (b"x={,}", b"1: unexpected symbol near ','"),
    (b"x=(1", b"1: ')' expected near '<eof>'"),
    (b"x=(\n1", b"2: ')' expected (to close '(' at line 1) near '<eof>'"),
    (b"x=()", b"1: unexpected symbol near ')'"),
    (b"f(", b"1: unexpected symbol near '<eof>'"),
    (b"f(1,)", b"1: unexpected symbol near ')'"),
    (b"f(\n1", b"2: ')' expected (to close '(' at line 1) near '<eof>'"),
    (b"end", b"1: '<eof>' expected near 'end'"),
    (b"until", b"1: '<eof>' expected near 'until'"),
    (b"x y", b"1: '=' expected near 'y'"),
    (b"x = = 1", b"1: unexpected symbol near '='"),
    (b"x,y", b"1: '=' expected near '<eof>'"),
    (b"x,1=2", b"1: unexpected symbol near '1'"),
    (b"x,f()=1", b"1: syntax error near '='"),
    (b"f()=1", b"1: unexpected symbol near '='"),
    (b"(x)=1", b"1: syntax error near '='"),
    (b"(x)", b"1: syntax error near '<eof>'"),
    (b"x+1", b"1: '=' expected near '+'"),
    (b"\"a\"", b"1: unexpected symbol near '\"a\"'"),
    (b"nil()", b"1: unexpected symbol near 'nil'"),
    (b"x=@", b"1: unexpected symbol near '@'"),
    (b"x=\x01", b"1: unexpected symbol near 'char(1)'"),
    (b"x=\x7f", b"1: unexpected symbol near 'char(127)'"),
    (b"x=\xe9", b"1: unexpected symbol near '\xe9'"),
    (b"x=\x00", b"1: unexpected symbol"),
    (b"x=~1", b"1: unexpected symbol near '~'"),
    (b"x=not", b"1: unexpected symbol near '<eof>'"),
    (b"x=a.. ..b", b"1: unexpected symbol near '..'"),
    (b"x=a.\0\0", b"1: unexpected symbol near '...'"),
    (b"x=a.\0b y y", b"1: '=' expected near 'y'"),
    (b"x=a....b", b"1: unexpected symbol near '...'"),
    (b"x.and=1", b"1: '<name>' expected near 'and'"),
    (b"x=a\r\n\r=", b"3: unexpected symbol near '='"),
    (b"x=\"\x00\" y y", b"1: '=' expected near 'y'"),
    (b"x=\"a\x00b\" \"c\x00d\"", b"1: unexpected symbol near '\"c'"),
    (b"x=[[\n\nab\r\ncd]] \"e", b"4: unfinished string near '<eof>'"),
    (b"x=[[\r\nab\rcd]] [[ab\ncd]]", b"4: unexpected symbol near '[[ab\ncd]]'"),
    (b"x=1 = [[\nab\rcd]]", b"1: unexpected symbol near '='"),
    (b"x=1;;", b"1: unexpected symbol near ';'"),
    (b"; x", b"1: unexpected symbol near ';'"),
    (b"x=\"\\x41\" y y", b"1: '=' expected near 'y'"),
    (b"for i=1,2 do break end break", b"1: no loop to break near '<eof>'"),
    (b"x={\n\n\n", b"4: unexpected symbol near '<eof>'"),
    (b"x=f(a\n\n\n,", b"4: unexpected symbol near '<eof>'"),
    (b"x=1 y.z.w", b"1: '=' expected near '<eof>'"),
];
