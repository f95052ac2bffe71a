//! The module's results, and every error. The expected values are Redis' own.

use crate::lua::library::evaluate::{evaluate, evaluate_with, hexadecimal, literal};

/// Checks the packed form of expressions, in hexadecimal; spaces are ignored.
#[track_caller]
fn check_pack(cases: &[(&str, &str)]) {
    for (values, expected) in cases {
        let bytes = literal(&hexadecimal(expected));
        let source = format!("local a, b = cmsgpack.pack({values}), '{bytes}' return a == b or a");
        assert_eq!(evaluate(&source), "true", "{values}");
    }
}

/// Checks a function's results for a text in hexadecimal and further arguments.
#[track_caller]
fn check_unpack(cases: &[(&str, &str, &str, &str)]) {
    for (function, text, arguments, expected) in cases {
        let bytes = literal(&hexadecimal(text));
        let source = format!(
            "local f = cmsgpack.{function} local s = '{bytes}' local function g(...) return ... end return g(f(s{arguments}))"
        );
        let shown = evaluate(&source).replace("'f'", &format!("'{function}'"));
        assert_eq!(shown, *expected, "{function} {text} {arguments}");
    }
}

#[test]
fn integers_take_as_few_bytes_as_they_can() {
    check_pack(&[
        ("0, -0, 127, 128, 255, 256", "00 00 7f cc80 ccff cd0100"),
        ("65535, 65536, 4294967295, 4294967296", "cdffff ce00010000 ceffffffff cf0000000100000000"),
        ("2^53, 2^62", "cf0020000000000000 cf4000000000000000"),
        ("-1, -32, -33, -128, -129", "ff e0 d0df d080 d1ff7f"),
        (
            "-32768, -32769, -2147483648, -2147483649, -2^63",
            "d18000 d2ffff7fff d280000000 d3ffffffff7fffffff d38000000000000000",
        ),
    ]);
}

#[test]
fn other_numbers_are_floats_where_these_are_exact() {
    check_pack(&[
        ("2^63, 2^64, -2^64", "ca5f000000 ca5f800000 cadf800000"),
        ("0.5, 0.1, 1/0, -1/0", "ca3f000000 cb3fb999999999999a ca7f800000 caff800000"),
        ("1e300, 1e-45, 3.4e38", "cb7e37e43c8800759c cb3696d601ad376ab9 cb47eff933c78cdfad"),
    ]);
    assert_eq!(
        evaluate("local s = cmsgpack.pack(0/0) return #s, cmsgpack.unpack(s) ~= cmsgpack.unpack(s)"),
        "9 true"
    );
}

#[test]
fn strings_say_how_long_they_are() {
    check_pack(&[("'', 'a', '12', 12", "a0 a161 a23132 0c")]);
    let source = "local function repeated(n) local s = '' for i = 1, n do s = s .. 'a' end return s end
        local function start(n, s) return #cmsgpack.pack(repeated(n)) - n end
        return start(31), start(32), start(255), start(256)";
    assert_eq!(evaluate(source), "1 2 2 3");
    let large = "local s = 'a' for i = 1, 16 do s = s .. s end return #cmsgpack.pack(s), cmsgpack.unpack(cmsgpack.pack(s)) == s";
    assert_eq!(evaluate(large), "65541 true");
}

#[test]
fn a_table_is_an_array_if_its_keys_are_those_of_one() {
    check_pack(&[
        ("{}, {1, 2}, {1, nil, 3}, {[1] = 1, [3] = 3}", "90 920102 8201010303 8201010303"),
        (
            "{a = 1}, {[0] = 1}, {[-1] = 1}, {[1.5] = 2}, {[true] = false}",
            "81a16101 810001 81ff01 81ca3fc0000002 81c3c2",
        ),
        ("{[2^31] = 1}, {[1] = 1, [2^32 + 2] = 2}", "81ce8000000001 820101cf000000010000000202"),
        ("{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}", "9f 0102030405060708090a0b0c0d0e0f"),
        ("{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}", "dc0010 0102030405060708090a0b0c0d0e0f10"),
    ]);
    let lengths =
        "local function start(n) local t = {} for i = 1, n do t[i] = 1 end return #cmsgpack.pack(t) - n end
        local function map(n) local t = {} for i = 1, n do t[-i] = 1 end return cmsgpack.pack(t) end
        return start(15), start(16), start(65535), start(65536), #map(15), #map(16)";
    assert_eq!(evaluate(lengths), "1 3 3 5 31 35");
}

#[test]
fn what_cannot_be_packed_is_nil() {
    check_pack(&[
        ("nil, true, false, cjson.null, cmsgpack.pack", "c0 c3 c2 c0 c0"),
        ("(function() local t = {} t[1] = t return t end)()", "91919191919191919191919191919191 c0"),
        (
            "(function() local t = {} t[t] = 1 return t end)()",
            "81818181818181818181818181818181 c0 01010101010101010101010101010101",
        ),
    ]);
    assert_eq!(
        evaluate("return cmsgpack.pack()"),
        "error: t:1: bad argument #0 to 'pack' (MessagePack pack needs input.)"
    );
}

#[test]
fn bytes_become_values() {
    check_unpack(&[
        ("unpack", "", "", ""),
        ("unpack", "010203", "", "1 2 3"),
        ("unpack", "c0c2c3", "", "nil false true"),
        (
            "unpack",
            "ccff d0ff cdffff d1ffff ceffffffff d2ffffffff cfffffffffffffffff d3ffffffffffffffff",
            "",
            "255 -1 65535 -1 4294967295 -1 -1 -1",
        ),
        ("unpack", "cf8000000000000000 cf0020000000000001", "", "-9.223372036854776e18 9007199254740992"),
        (
            "unpack",
            "ca3f000000 cb3ff199999999999a ca7f800000 cbfff0000000000000 ca00000001",
            "",
            "0.5 1.1 inf -inf 1.401298464324817e-45",
        ),
        ("unpack", "7f e0 ff", "", "127 -32 -1"),
        ("unpack", "80 810102 90 9101 a0 a161", "", r#"{} {1=2} {} {1=1} "" "a""#),
        (
            "unpack",
            "81a16101 9301c003 dc000101 dd0000000101 de00010102 df000000010102",
            "",
            r#"{"a"=1} {1=1,3=3} {1=1} {1=1} {1=2} {1=2}"#,
        ),
        ("unpack", "d90161 da000161 db0000000161", "", r#""a" "a" "a""#),
        ("unpack", "81 9101 9102", "", "{{1=1}={1=2}}"),
        ("unpack", "81 810102 810304", "", "{{1=2}={3=4}}"),
        ("unpack", "8201c00102", "", "{1=2}"),
        ("unpack", "82010201c0", "", "{}"),
        ("unpack", "82 a161 9101 a161 02", "", r#"{"a"=2}"#),
        ("unpack", "010203", ", 5, 6", "1 2 3"),
    ]);
}

#[test]
fn an_array_with_nil_is_as_long_as_redis_makes_it() {
    check_unpack(&[("unpack", "92c001", "", "{2=1}"), ("unpack", "9301c003", "", "{1=1,3=3}")]);
    for (text, length) in
        [("92c001", 0), ("9301c003", 1), ("940102c0c0", 2), ("95c002030405", 5), ("9501c0c0c005", 1)]
    {
        let bytes = literal(&hexadecimal(text));
        assert_eq!(evaluate(&format!("return #cmsgpack.unpack('{bytes}')")), length.to_string(), "{text}");
    }
}

#[test]
fn broken_input_is_an_error() {
    let missing = "error: t:1: Missing bytes in input.";
    let bad = "error: t:1: Bad data format in input.";
    check_unpack(&[
        ("unpack", "c1", "", bad),
        ("unpack", "01c1", "", bad),
        ("unpack", "c4", "", bad),
        ("unpack", "c7", "", bad),
        ("unpack", "d4", "", bad),
        ("unpack", "cc", "", missing),
        ("unpack", "ce010203", "", missing),
        ("unpack", "d902 61", "", missing),
        ("unpack", "da00", "", missing),
        ("unpack", "dbffffffff61", "", missing),
        ("unpack", "dc00", "", missing),
        ("unpack", "ddffffffff", "", missing),
        ("unpack", "dfffffffff0102", "", missing),
        ("unpack", "81c0", "", missing),
        ("unpack", "81c091", "", missing),
        ("unpack", "81c001", "", "error: table index is nil"),
        ("unpack", "81c09101", "", "error: table index is nil"),
        ("unpack", "81ca7fc0000001", "", "error: table index is NaN"),
        ("unpack", "81ca7fc000009101", "", "error: table index is NaN"),
    ]);
    assert_eq!(
        evaluate("return cmsgpack.unpack()"),
        "error: t:1: bad argument #1 to 'unpack' (string expected, got no value)"
    );
    assert_eq!(
        evaluate("return cmsgpack.unpack({})"),
        "error: t:1: bad argument #1 to 'unpack' (string expected, got table)"
    );
}

#[test]
fn a_part_of_the_values_comes_with_the_place_of_the_next() {
    check_unpack(&[
        ("unpack_one", "010203", "", "1 1"),
        ("unpack_one", "010203", ", 1", "2 2"),
        ("unpack_one", "010203", ", 2", "-1 3"),
        ("unpack_one", "010203", ", 3", "-1"),
        ("unpack_one", "010203", ", 1, 2, 3", "2 2"),
        ("unpack_one", "010203", ", '1.9'", "2 2"),
        ("unpack_one", "", "", "-1"),
        ("unpack_one", "9201a16102", "", r#"4 {1=1,2="a"}"#),
        ("unpack_one", "010203", ", 4", "error: t:1: Start offset 4 greater than input length 3."),
        ("unpack_one", "010203", ", 2^32 + 1", "error: t:1: Start offset 1 greater than input length 3."),
        ("unpack_limit", "010203", ", 2^32", "-1 1 2 3"),
        (
            "unpack_one",
            "010203",
            ", -1",
            "error: t:1: Invalid request to unpack with offset of -1 and limit of 3.",
        ),
        (
            "unpack_one",
            "010203",
            ", 'x'",
            "error: t:1: bad argument #2 to 'unpack_one' (number expected, got string)",
        ),
        ("unpack_limit", "010203", ", 2", "2 1 2"),
        ("unpack_limit", "010203", ", 2, 1", "-1 2 3"),
        ("unpack_limit", "010203", ", 5, 1", "-1 2 3"),
        ("unpack_limit", "010203", ", 0", "1 2 3"),
        ("unpack_limit", "010203", ", 0, 1", "1"),
        ("unpack_limit", "01c003", ", 2, 1", "-1 nil 3"),
        (
            "unpack_limit",
            "010203",
            ", -1",
            "error: t:1: Invalid request to unpack with offset of 0 and limit of 3.",
        ),
        ("unpack_limit", "010203", ", 1, 4", "error: t:1: Start offset 4 greater than input length 3."),
        (
            "unpack_limit",
            "010203",
            "",
            "error: t:1: bad argument #2 to 'unpack_limit' (number expected, got no value)",
        ),
        ("unpack_limit", "01c1", ", 1", "1 1"),
    ]);
}

#[test]
fn results_and_depth_are_limited_as_in_redis() {
    let repeat = "local function repeated(s, n) local t = '' while n > 0 do if n % 2 == 1 then t = t .. s end s = s .. s n = (n - n % 2) / 2 end return t end
        local function count(...) local t = {...} return #t end ";
    let too_many = "error: t:2: stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
    for (expression, expected) in [
        (r"count(cmsgpack.unpack(repeated('\1', 7999)))", "7999"),
        (r"count(cmsgpack.unpack(repeated('\1', 8000)))", too_many),
        (r"count(cmsgpack.unpack_limit(repeated('\1', 10000), 7998))", "7999"),
        (
            r"count(cmsgpack.unpack_limit(repeated('\1', 10000), 7999))",
            "error: t:2: stack overflow (in function mp_unpack_full)",
        ),
        (r"count(cmsgpack.unpack_limit(repeated('\1', 10000), 8000))", too_many),
        (r"count(cmsgpack.unpack(repeated('\145', 3999) .. '\1'))", "1"),
        (
            r"count(cmsgpack.unpack(repeated('\145', 4000) .. '\1'))",
            "error: t:2: stack overflow (in function mp_decode_to_lua_array)",
        ),
        (r"count(cmsgpack.unpack(repeated('\129\1', 5000) .. '\1'))", too_many),
        (r"count(cmsgpack.unpack(repeated('\129', 10000) .. '\1'))", too_many),
    ] {
        assert_eq!(evaluate(&format!("{repeat} return {expression}")), expected, "{expression}");
    }
}

#[test]
fn long_values_survive_the_way_there_and_back() {
    let source = r#"
        local t = {}
        for i = 1, 20000 do t[i] = {id = i, name = "name " .. i, half = i / 2, list = {i, {i}, {}}} end
        t[{key = "of a table"}] = {1}
        local text = cmsgpack.pack(t, 1)
        local back, one = cmsgpack.unpack(text)
        for i = 1, 20000 do
            local a, b = t[i], back[i]
            if a.id ~= b.id or a.name ~= b.name or a.half ~= b.half or b.list[2][1] ~= i then return i end
        end
        return #text, #back, one
    "#;
    let expected = evaluate_with(source, 1 << 40, 256 << 20);
    assert!(expected.ends_with(" 20000 1"), "{expected}");
    // Collections happen between the slices.
    assert_eq!(evaluate_with(source, 1000, 256 << 20), expected);
}

#[test]
fn values_larger_than_memory_are_an_error() {
    let bomb = "local t = {1} for i = 1, 14 do t = {t, t, t, t, t, t, t, t} end return cmsgpack.pack(t)";
    assert_eq!(evaluate_with(bomb, 1000, 16 << 20), "error: not enough memory");
    let nested =
        r"local s = '\144' for i = 1, 21 do s = s .. s end return cmsgpack.unpack('\221\0\32\0\0' .. s)";
    assert_eq!(evaluate_with(nested, 1000, 32 << 20), "error: not enough memory");
}

#[test]
fn a_large_map_is_unpacked_to_a_table_like_the_one_that_assignments_make() {
    let source = "local t, copy, key = {}, {}
        for i = 1, 70000 do t[i % 2 == 0 and 'key ' .. i or i + 0.5] = i end
        local unpacked = cmsgpack.unpack(cmsgpack.pack(t))
        for k, v in pairs(t) do copy[k] = v end
        for k, v in pairs(copy) do
            key = next(unpacked, key)
            if key ~= k or unpacked[key] ~= v then return k, key end
        end
        return next(unpacked, key)";
    assert_eq!(evaluate(source), "nil");
}
