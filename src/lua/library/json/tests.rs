//! The module's results, and every error. The expected values are Redis' own.

use crate::lua::library::evaluate::{evaluate, evaluate_with, literal};

/// Checks programs, each with its expected result.
#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(evaluate(source), *expected, "{source}");
    }
}

/// Checks the values or errors of decoded texts, with and without invalid numbers.
#[track_caller]
fn check_decode(cases: &[(&str, &str, &str)]) {
    for (text, lenient, strict) in cases {
        let literal = literal(text.as_bytes());
        for (invalid, expected) in [(true, lenient), (false, strict)] {
            let source = format!(
                "local c = cjson.new() c.decode_invalid_numbers({invalid}) local v = c.decode('{literal}') return v"
            );
            let expected = if expected.starts_with("Expected") {
                format!("error: t:1: {expected}")
            } else {
                (*expected).to_string()
            };
            assert_eq!(evaluate(&source), expected, "{text:?}, invalid numbers {invalid}");
        }
    }
}

#[test]
fn values_become_json() {
    check(&[
        ("return cjson.encode(nil)", r#""null""#),
        ("return cjson.encode(cjson.null)", r#""null""#),
        ("return cjson.encode({true, false})", r#""[true,false]""#),
        ("return cjson.encode({})", r#""{}""#),
        ("return cjson.encode({1, 2, 3, nil, 5})", r#""[1,2,3,null,5]""#),
        ("return cjson.encode({a = {b = {1, {}}}})", r#""{\"a\":{\"b\":[1,{}]}}""#),
        ("return cjson.encode({[5] = 1, [1.5] = 3})", r#""{\"5\":1,\"1.5\":3}""#),
        ("return cjson.encode({[0] = 1})", r#""{\"0\":1}""#),
        ("return cjson.encode({[-1] = 1})", r#""{\"-1\":1}""#),
        ("return cjson.encode({[2^40] = 1})", r#""{\"1099511627776\":1}""#),
        ("return cjson.encode({[2^31] = 1})", r#""{\"2147483648\":1}""#),
        (
            "return cjson.encode({1.1, 0.1, 1e15, 99999999999999, 123456789012345, 1e300, 5e-324, 1e-5, 0.0001})",
            r#""[1.1,0.1,1e+15,99999999999999,1.2345678901234e+14,1e+300,4.9406564584125e-324,1e-05,0.0001]""#,
        ),
        (
            r#"return cjson.encode("\0\1\31 \"/\\ \127\128\255\8\9\10\12\13abc")"#,
            r#""\"\\u0000\\u0001\\u001f \\\"\\/\\\\ \\u007f\x80\xff\\b\\t\\n\\f\\rabc\"""#,
        ),
    ]);
}

#[test]
fn a_table_with_few_of_its_elements_is_an_error_or_an_object() {
    let error = "error: t:1: Cannot serialise table: excessively sparse array";
    check(&[
        ("return cjson.encode({[10] = 1})", r#""[null,null,null,null,null,null,null,null,null,1]""#),
        ("return cjson.encode({[1] = 1, [11] = 2})", error),
        ("return cjson.encode({[2^31 - 1] = 1})", error),
        (
            "local c = cjson.new() c.encode_sparse_array(true) return c.encode({[1] = 1, [11] = 2})",
            r#""{\"1\":1,\"11\":2}""#,
        ),
        (
            "local c = cjson.new() c.encode_sparse_array(false, 6) return c.encode({[1] = 1, [11] = 2})",
            r#""[1,null,null,null,null,null,null,null,null,null,2]""#,
        ),
        (
            "local c = cjson.new() c.encode_sparse_array(false, 2, 11) return c.encode({[11] = 2})",
            r#""[null,null,null,null,null,null,null,null,null,null,2]""#,
        ),
        (
            "local c = cjson.new() c.encode_sparse_array(false, 0) return c.encode({[12] = 1})",
            r#""[null,null,null,null,null,null,null,null,null,null,null,1]""#,
        ),
    ]);
}

#[test]
fn what_has_no_json_is_refused() {
    check(&[
        ("return cjson.encode()", "error: t:1: bad argument #1 to 'encode' (expected 1 argument)"),
        ("return cjson.encode(1, 2)", "error: t:1: bad argument #1 to 'encode' (expected 1 argument)"),
        ("return cjson.encode(cjson.encode)", "error: t:1: Cannot serialise function: type not supported"),
        (
            "return cjson.encode({[true] = 1})",
            "error: t:1: Cannot serialise boolean: table key must be a number or string",
        ),
        (
            "return cjson.encode({[{}] = 1})",
            "error: t:1: Cannot serialise table: table key must be a number or string",
        ),
        (
            "return cjson.encode({[cjson.null] = 1})",
            "error: t:1: Cannot serialise userdata: table key must be a number or string",
        ),
        ("return cjson.encode({0/0})", "error: t:1: Cannot serialise number: must not be NaN or Inf"),
        ("return cjson.encode({[1/0] = 1})", "error: t:1: Cannot serialise number: must not be NaN or Inf"),
    ]);
}

#[test]
fn invalid_numbers_are_encoded_as_configured() {
    check(&[
        (
            "local c = cjson.new() c.encode_invalid_numbers(true) return c.encode({0/0, -(0/0), 1/0, -1/0})",
            r#""[nan,nan,inf,-inf]""#,
        ),
        (
            "local c = cjson.new() c.encode_invalid_numbers('null') return c.encode({0/0, -(0/0), 1/0, -1/0})",
            r#""[null,null,null,null]""#,
        ),
    ]);
}

#[test]
fn numbers_have_as_many_digits_as_configured() {
    check(&[
        (
            "local c = cjson.new() c.encode_number_precision(3) return c.encode({1.1, 1e15, 123456, 5e-324, 0.0001, 12, -7})",
            r#""[1.1,1e+15,1.23e+05,4.94e-324,0.0001,12,-7]""#,
        ),
        (
            "local c = cjson.new() c.encode_number_precision(1) return c.encode({1.1, 99, 5})",
            r#""[1,1e+02,5]""#,
        ),
    ]);
}

#[test]
fn depth_is_limited() {
    check(&[
        ("local c = cjson.new() c.encode_max_depth(1) return c.encode({1})", r#""[1]""#),
        (
            "local c = cjson.new() c.encode_max_depth(1) return c.encode({{}})",
            "error: t:1: Cannot serialise, excessive nesting (2)",
        ),
        (
            "local t = {} t[1] = t return cjson.encode(t)",
            "error: t:1: Cannot serialise, excessive nesting (1001)",
        ),
        (
            "local c = cjson.new() c.encode_max_depth(1e6) local t = {} t[1] = t return c.encode(t)",
            "error: t:1: Cannot serialise, excessive nesting (7998)",
        ),
        (
            "local c = cjson.new() c.encode_max_depth(1e6) local t = {} t.a = t return c.encode(t)",
            "error: t:1: Cannot serialise, excessive nesting (4000)",
        ),
        (
            "local c = cjson.new() c.encode_max_depth(1e6) local t = {} t.a = {t} return c.encode(t)",
            "error: t:1: Cannot serialise, excessive nesting (5332)",
        ),
        (
            "local c = cjson.new() c.encode_max_depth(1e6) local t = {} t[1] = {a = t} return c.encode(t)",
            "error: t:1: Cannot serialise, excessive nesting (5333)",
        ),
        ("local c = cjson.new() c.decode_max_depth(2) return c.decode('[[]]')", "{1={}}"),
        (
            "local c = cjson.new() c.decode_max_depth(2) return c.decode('[[[]]]')",
            "error: t:1: Found too many nested data structures (3) at character 3",
        ),
    ]);
    let repeat = "local function repeated(s) for i = 1, 13 do s = s .. s end return s end local c = cjson.new() c.decode_max_depth(1e6) ";
    for (text, error) in [
        ("[", "(7999) at character 7999"),
        (r#"{"a":"#, "(4000) at character 19996"),
        (r#"{"a":["#, "(5333) at character 15997"),
        (r#"[{"a":"#, "(5333) at character 15997"),
    ] {
        let source = format!("{repeat} return c.decode(repeated('{text}'))");
        assert_eq!(evaluate(&source), format!("error: t:1: Found too many nested data structures {error}"));
    }
}

#[test]
fn settings_are_returned_and_checked() {
    check(&[
        ("local c = cjson.new() return c.encode_sparse_array()", "false 2 10"),
        ("local c = cjson.new() return c.encode_sparse_array('on', 1.9, '7')", "true 1 7"),
        ("local c = cjson.new() return c.encode_sparse_array(nil, nil, 1e10)", "false 2 1410065408"),
        (
            "return cjson.encode_max_depth(), cjson.decode_max_depth(), cjson.encode_number_precision()",
            "1000 1000 14",
        ),
        (
            "return cjson.encode_keep_buffer(), cjson.encode_invalid_numbers(), cjson.decode_invalid_numbers()",
            "true false true",
        ),
        (
            "local f = cjson.new().encode_invalid_numbers return f('null'), f(), f('on'), f('off'), f(true)",
            r#""null" "null" true false true"#,
        ),
        (
            "cjson.encode_max_depth(5) return cjson.encode_max_depth(), cjson.new().encode_max_depth()",
            "5 1000",
        ),
        (
            "return cjson.encode_max_depth(0)",
            "error: t:1: bad argument #1 to 'encode_max_depth' (expected integer between 1 and 2147483647)",
        ),
        (
            "return cjson.decode_max_depth(2^31)",
            "error: t:1: bad argument #1 to 'decode_max_depth' (expected integer between 1 and 2147483647)",
        ),
        (
            "return cjson.encode_number_precision(15)",
            "error: t:1: bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)",
        ),
        (
            "return cjson.encode_sparse_array(true, 0, -1)",
            "error: t:1: bad argument #1 to 'encode_sparse_array' (expected integer between 0 and 2147483647)",
        ),
        (
            "return cjson.encode_sparse_array(true, 0, 'x')",
            "error: t:1: bad argument #3 to 'encode_sparse_array' (number expected, got string)",
        ),
        (
            "return cjson.encode_sparse_array(true, 0, 1, 2)",
            "error: t:1: bad argument #4 to 'encode_sparse_array' (found too many arguments)",
        ),
        (
            "return cjson.encode_invalid_numbers(1)",
            "error: t:1: bad argument #1 to 'encode_invalid_numbers' (invalid option '1')",
        ),
        (
            "return cjson.encode_invalid_numbers({})",
            "error: t:1: bad argument #1 to 'encode_invalid_numbers' (string expected, got table)",
        ),
        (
            "return cjson.decode_invalid_numbers('null')",
            "error: t:1: bad argument #1 to 'decode_invalid_numbers' (invalid option 'null')",
        ),
        ("return cjson._NAME, cjson._VERSION", r#""cjson" "2.1.0""#),
    ]);
}

#[test]
fn json_becomes_values() {
    check_decode(&[
        (
            r#"{"a":{"b":[1,null,true,false,"x"]}}"#,
            r#"{"a"={"b"={1=1,2=null,3=true,4=false,5="x"}}}"#,
            r#"{"a"={"b"={1=1,2=null,3=true,4=false,5="x"}}}"#,
        ),
        (r#"{"a":1,"a":[2]}"#, r#"{"a"={1=2}}"#, r#"{"a"={1=2}}"#),
        ("[[],{},[{}]]", "{1={},2={},3={1={}}}", "{1={},2={},3={1={}}}"),
        ("  [ ]  ", "{}", "{}"),
        ("\t\r\n1", "1", "1"),
        ("1.", "1", "1"),
        ("1.e5", "100000", "100000"),
        ("1E+5", "100000", "100000"),
        ("-.5", "-0.5", "-0.5"),
        ("-0", "-0", "-0"),
        ("0e5", "0", "0"),
        ("1e400", "inf", "inf"),
        ("9007199254740993", "9007199254740992", "9007199254740992"),
        ("123456789012345678901234567890", "1.2345678901234568e29", "1.2345678901234568e29"),
        ("0.1", "0.1", "0.1"),
        ("4.9e-324", "5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e308", "1.7976931348623157e308"),
        (
            r#""\u00e9\u20AC\uD83D\uDE00""#,
            r#""\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80""#,
            r#""\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80""#,
        ),
        (r#""\u0000a\/\b\f\n\r\t\"\\""#, r#""\x00a/\x08\x0c\n\r\t\"\\""#, r#""\x00a/\x08\x0c\n\r\t\"\\""#),
        ("\"\x01\n\t\x7f\"", r#""\x01\n\t\x7f""#, r#""\x01\n\t\x7f""#),
        ("12\0x", "12", "12"),
    ]);
}

#[test]
fn numbers_that_json_does_not_have_are_decoded_unless_that_is_off() {
    let number = "Expected value but found invalid number at character 1";
    let token = "Expected value but found invalid token at character 1";
    check_decode(&[
        ("+5", "5", token),
        ("01", "1", number),
        ("-01", "-1", number),
        ("0x10", "16", number),
        ("-0x1.8p1", "-3", number),
        ("0x.8", "0.5", number),
        ("0x", "Expected the end but found invalid token at character 2", number),
        ("0x1p", "Expected the end but found invalid token at character 4", number),
        ("0xp1", "Expected the end but found invalid token at character 2", number),
        ("inf", "inf", token),
        ("-Infinity", "-inf", number),
        ("infinit", "Expected the end but found invalid token at character 4", token),
        ("nan", "NaN", token),
        ("nan(a_1)", "NaN", token),
        ("nan(", "Expected the end but found invalid token at character 4", token),
        ("[+1]", "{1=1}", "Expected value but found invalid token at character 2"),
    ]);
}

#[test]
fn errors_say_what_was_expected_and_what_was_found() {
    for (text, error) in [
        ("", "value but found T_END at character 1"),
        (".5", "value but found invalid token at character 1"),
        ("-", "value but found invalid number at character 1"),
        ("- 1", "value but found invalid number at character 1"),
        ("1e", "the end but found invalid token at character 2"),
        ("1e+", "the end but found invalid token at character 2"),
        ("0.e", "the end but found invalid token at character 3"),
        ("1-1", "the end but found T_NUMBER at character 2"),
        ("1 2", "the end but found T_NUMBER at character 3"),
        ("nul", "value but found invalid token at character 1"),
        ("nulll", "the end but found invalid token at character 5"),
        ("True", "value but found invalid token at character 1"),
        ("truefalse", "the end but found T_BOOLEAN at character 5"),
        ("[1,]", "value but found T_ARR_END at character 4"),
        ("[,1]", "value but found T_COMMA at character 2"),
        ("[1 2]", "comma or array end but found T_NUMBER at character 4"),
        ("[1 null]", "comma or array end but found T_NULL at character 4"),
        ("[1 {", "comma or array end but found T_OBJ_BEGIN at character 4"),
        ("[1 [", "comma or array end but found T_ARR_BEGIN at character 4"),
        ("[", "value but found T_END at character 2"),
        ("[1", "comma or array end but found T_END at character 3"),
        ("[1]]", "the end but found T_ARR_END at character 4"),
        ("[}", "value but found T_OBJ_END at character 2"),
        ("{", "object key string but found T_END at character 2"),
        ("{]", "object key string but found T_ARR_END at character 2"),
        ("{a:1}", "object key string but found invalid token at character 2"),
        ("{1:2}", "object key string but found T_NUMBER at character 2"),
        (r#"{"a"#, "object key string but found unexpected end of string at character 4"),
        (r#"{"a"}"#, "colon but found T_OBJ_END at character 5"),
        (r#"{"a":}"#, "value but found T_OBJ_END at character 6"),
        (r#"{"a":1,}"#, "object key string but found T_OBJ_END at character 8"),
        (r#"{"a":1 "b":2}"#, "comma or object end but found T_STRING at character 8"),
        (r#"{"a":1 "b"#, "comma or object end but found unexpected end of string at character 10"),
        (":", "value but found T_COLON at character 1"),
        ("\"", "value but found unexpected end of string at character 2"),
        ("\"abc", "value but found unexpected end of string at character 5"),
        (r#""a\"#, "value but found invalid escape code at character 3"),
        (r#""\x""#, "value but found invalid escape code at character 2"),
        (r#""ab\u12""#, "value but found invalid unicode escape code at character 4"),
        (r#""\ud83d""#, "value but found invalid unicode escape code at character 2"),
        (r#""\ude00""#, "value but found invalid unicode escape code at character 2"),
        (r#""\ud83d\u0041""#, "value but found invalid unicode escape code at character 2"),
        (r#""\u+123""#, "value but found invalid unicode escape code at character 2"),
        ("\u{b}1", "value but found invalid token at character 1"),
        ("'a'", "value but found invalid token at character 1"),
    ] {
        let error = format!("Expected {error}");
        check_decode(&[(text, &error, &error)]);
    }
    check(&[
        ("return cjson.decode()", "error: t:1: bad argument #1 to 'decode' (expected 1 argument)"),
        ("return cjson.decode({})", "error: t:1: bad argument #1 to 'decode' (string expected, got table)"),
        ("return cjson.decode(12)", "12"),
        (r"return cjson.decode('a\0')", "error: t:1: JSON parser does not support UTF-16 or UTF-32"),
        (r"return cjson.decode('\0a')", "error: t:1: JSON parser does not support UTF-16 or UTF-32"),
    ]);
}

#[test]
fn long_documents_survive_the_way_there_and_back() {
    let source = r#"
        local t = {}
        for i = 1, 20000 do t[i] = {id = i, name = "name " .. i, half = i / 2, list = {i, {i}, {}}} end
        local text = cjson.encode(t)
        local back = cjson.decode(text)
        for i = 1, 20000 do
            local a, b = t[i], back[i]
            if a.id ~= b.id or a.name ~= b.name or a.half ~= b.half or b.list[2][1] ~= i then return i end
        end
        return #text, #back, cjson.encode(back[20000].list)
    "#;
    let expected = evaluate_with(source, 1 << 40, 256 << 20);
    assert!(expected.ends_with(r#"20000 "[20000,[20000],{}]""#), "{expected}");
    // Collections happen between the slices.
    assert_eq!(evaluate_with(source, 1000, 256 << 20), expected);
}

#[test]
fn a_document_larger_than_memory_is_an_error() {
    let bomb = "local t = {1} for i = 1, 40 do t = {t, t, t, t} end return cjson.encode(t)";
    assert_eq!(evaluate_with(bomb, 1000, 16 << 20), "error: not enough memory");
    let sparse = "local c = cjson.new() c.encode_sparse_array(false, 0) return c.encode({[2^31 - 1] = 1})";
    assert_eq!(evaluate_with(sparse, 1000, 16 << 20), "error: not enough memory");
    let nested = "local s = '[],' for i = 1, 21 do s = s .. s end return cjson.decode('[' .. s .. '1]')";
    assert_eq!(evaluate_with(nested, 1000, 32 << 20), "error: not enough memory");
}

#[test]
fn a_large_object_is_decoded_to_a_table_like_the_one_that_assignments_make() {
    check(&[(
        "local keys, t = {}, {}
        for i = 1, 70000 do keys[i] = '\"key ' .. i .. '\":' .. i t['key ' .. i] = i end
        local decoded, key = cjson.decode('{' .. table.concat(keys, ',') .. '}')
        for k, v in pairs(t) do
            key = next(decoded, key)
            if key ~= k or decoded[key] ~= v then return k, key end
        end
        return next(decoded, key)",
        "nil",
    )]);
}
