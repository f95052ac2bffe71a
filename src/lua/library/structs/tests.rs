//! The module's results, and every error. The expected values are Redis' own.

use crate::lua::library::evaluate::{evaluate, hexadecimal, literal};

/// Checks expressions that pack, each with the expected bytes in hexadecimal or the error message.
#[track_caller]
fn check_pack(cases: &[(&str, &str)]) {
    for (arguments, expected) in cases {
        if expected.starts_with("error") {
            assert_eq!(evaluate(&format!("return struct.pack({arguments})")), *expected, "{arguments}");
        } else {
            let source =
                format!("local a, b = struct.pack({arguments}), '{}' return a == b or a", escaped(expected));
            assert_eq!(evaluate(&source), "true", "{arguments}");
        }
    }
}

/// Checks the values unpacked with a format from a text in hexadecimal and other arguments.
#[track_caller]
fn check_unpack(cases: &[(&str, &str, &str, &str)]) {
    for (format, text, arguments, expected) in cases {
        let source = format!(
            "local f = struct.unpack local s = '{}' local function g(...) return ... end return g(f('{format}', s{arguments}))",
            escaped(text)
        );
        assert_eq!(evaluate(&source).replace("'f'", "'unpack'"), *expected, "{format} {text} {arguments}");
    }
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(evaluate(source), *expected, "{source}");
    }
}

/// Converts hexadecimal bytes to escapes as written between quotes.
fn escaped(text: &str) -> String {
    literal(&hexadecimal(text))
}

#[test]
fn integers_are_packed_in_either_order() {
    check_pack(&[
        (
            "'bBhHlLiIT', 1, 2, 3, 4, 5, 6, 7, 8, 9",
            "01 02 0300 0400 0500000000000000 0600000000000000 07000000 08000000 0900000000000000",
        ),
        (
            "'>bBhHlLiIT', 1, 2, 3, 4, 5, 6, 7, 8, 9",
            "01 02 0003 0004 0000000000000005 0000000000000006 00000007 00000008 0000000000000009",
        ),
        ("'<i1i2i3i8i9', -1, -2, -3, -4, -5", "ff feff fdffff fcffffffffffffff fbffffffffffffff00"),
        ("'>i1i2i3i8i9', -1, -2, -3, -4, -5", "ff fffe fffffd fffffffffffffffc 00fffffffffffffffb"),
        ("'i0', -1", ""),
        ("'b', 300", "2c"),
        ("'b', '12'", "0c"),
        ("'i', 2^31", "00000080"),
        ("'i', -2^31 - 1", "ffffff7f"),
        ("'L', 2^63", "0000000000000080"),
        ("'L', 2^64", "0000000000000000"),
        ("'L', 18446744073709549568", "00f8ffffffffffff"),
        ("'L', -2^64", "0000000000000080"),
        ("'l', 1/0", "0000000000000000"),
        ("'l', -1/0", "0000000000000080"),
        ("'l', 0/0", "0000000000000080"),
        ("'l', -1.9", "ffffffffffffffff"),
        ("'l', -0.5", "0000000000000000"),
    ]);
}

#[test]
fn numbers_are_aligned_if_that_is_asked_for() {
    check_pack(&[
        ("'!8b i b d', 1, 2, 3, 4.5", "01000000 02000000 0300000000000000 0000000000001240"),
        ("'!4b d b l', 1, 2, 3, 4", "01000000 0000000000000040 03000000 0400000000000000"),
        ("'!b d', 1, 2", "0100000000000000 0000000000000040"),
        ("'!2b d', 1, 2", "0100 0000000000000040"),
        ("'!16b i16', 1, 2", "01000000000000000000000000000000 02000000000000000000000000000000"),
        ("'!8b i3 i3 i5', 1, 2, 3, 4", "01 0000 020000 030000 00000000 0400000000"),
        ("'!8b i7', 1, 2", "01000000000000 02000000000000"),
        ("'!1073741824b i', 1, 2", "01000000 02000000"),
        ("'!8 b x i x h', 1, 2, 3", "01000000 02000000 0000 0300"),
        ("'!3b d', 1, 2", "error: t:1: alignment 3 is not a power of 2"),
        ("'!0b d', 1, 2", "error: t:1: alignment 0 is not a power of 2"),
    ]);
}

#[test]
fn floats_are_packed() {
    check_pack(&[
        ("'fd', 1.5, 2.5", "0000c03f 0000000000000440"),
        ("'>fd', 1.5, 2.5", "3fc00000 4004000000000000"),
        ("'f', 1e300", "0000807f"),
    ]);
}

#[test]
fn strings_are_packed() {
    check_pack(&[
        ("'sb', 'abc', 1", "61626300 01"),
        (r"'s', 'a\0bc'", "6100626300"),
        ("'s', 12", "313200"),
        ("'c2c0c', 'abc', 'abc', 'abc'", "6162 616263 61"),
        ("'c0', ''", ""),
        ("'c4', 'abc'", "error: t:1: bad argument #3 to 'pack' (string too short)"),
        ("'bc4', 1, 'abc'", "error: t:1: bad argument #4 to 'pack' (string too short)"),
        ("'c2147483647', 'a'", "error: t:1: bad argument #3 to 'pack' (string too short)"),
    ]);
}

#[test]
fn wrong_formats_and_arguments_are_errors() {
    check_pack(&[
        ("", "error: t:1: bad argument #1 to 'pack' (string expected, got no value)"),
        ("nil", "error: t:1: bad argument #1 to 'pack' (string expected, got nil)"),
        ("''", ""),
        (r"'b\0b', 1", "01"),
        ("'b'", "error: t:1: bad argument #2 to 'pack' (number expected, got nil)"),
        ("'bb', 1", "error: t:1: bad argument #3 to 'pack' (number expected, got nil)"),
        ("'s'", "error: t:1: bad argument #2 to 'pack' (string expected, got nil)"),
        ("'b', {}", "error: t:1: bad argument #2 to 'pack' (number expected, got table)"),
        ("'b', 'x'", "error: t:1: bad argument #2 to 'pack' (number expected, got string)"),
        ("'z', 1", "error: t:1: bad argument #1 to 'pack' (invalid format option 'z')"),
        ("'=b', 1", "error: t:1: bad argument #1 to 'pack' (invalid format option '=')"),
        ("'b2', 1", "error: t:1: bad argument #1 to 'pack' (invalid format option '2')"),
        (r"'\255', 1", r"error: t:1: bad argument #1 to 'pack' (invalid format option '\xff')"),
        ("'i33', 1", "error: t:1: integral size 33 is larger than limit of 32"),
        ("'i2147483647', 1", "error: t:1: integral size 2147483647 is larger than limit of 32"),
        ("'i2147483648', 1", "error: t:1: integral size overflow"),
        ("'c99999999999999', 'a'", "error: t:1: integral size overflow"),
    ]);
}

#[test]
fn formats_have_sizes() {
    check(&[
        ("return struct.size('')", "0"),
        ("return struct.size('<>fdlLhHTiI')", "48"),
        ("return struct.size('!8bdi')", "20"),
        ("return struct.size('!8 b i3 i5 d')", "24"),
        ("return struct.size('x!4xi')", "8"),
        ("return struct.size('cc10')", "11"),
        ("return struct.size('zy1')", "0"),
        ("return struct.size(12)", "0"),
        ("return struct.size('c2147483647c2147483647c2147483647')", "6442450941"),
        ("return struct.size('s')", "error: t:1: bad argument #1 to 'size' (option 's' has no fixed size)"),
        ("return struct.size('c0')", "error: t:1: bad argument #1 to 'size' (option 'c0' has no fixed size)"),
        ("return struct.size('=')", "error: t:1: bad argument #1 to 'size' (invalid format option '=')"),
        ("return struct.size('!3')", "error: t:1: alignment 3 is not a power of 2"),
        ("return struct.size()", "error: t:1: bad argument #1 to 'size' (string expected, got no value)"),
    ]);
}

#[test]
fn integers_are_unpacked() {
    check_unpack(&[
        ("bBhH", "ffff ffff ffff", "", "-1 255 -1 65535 7"),
        ("lL", "ffffffffffffffff ffffffffffffffff", "", "-1 1.8446744073709552e19 17"),
        (">iI", "01020304 01020304", "", "16909060 16909060 9"),
        ("<i3I3", "ffff80 ffff80", "", "-8323073 8454143 7"),
        (">i3I3", "80ffff 80ffff", "", "-8323073 8454143 7"),
        ("i0", "61", "", "0 1"),
        ("T", "ffffffffffffffff", "", "1.8446744073709552e19 9"),
        ("!4bi", "01000000 02000000", "", "1 2 9"),
        ("!4bi", "01000000 020000", "", "error: t:1: bad argument #2 to 'unpack' (data string too short)"),
    ]);
}

#[test]
fn signs_of_large_integers_are_where_the_processor_shifts_them() {
    check_unpack(&[
        ("<i9", "ffffffffffffffffff", "", "-1 10"),
        ("<i9", "010000000000000001", "", "1 10"),
        ("<i9", "810000000000000001", "", "-127 10"),
        ("<I9", "0100000000000000ff", "", "1 10"),
        (">i9", "ff0000000000000001", "", "1 10"),
        ("<i10", "01800000000000000100", "", "-32767 11"),
        ("<i16", "01800000000000000000000000000000", "", "32769 17"),
        ("<i16", "01000000000000800000000000000000", "", "-9.223372036854776e18 17"),
        ("<i17", "0180000000000000000000000000000000", "", "-127 18"),
    ]);
}

#[test]
fn floats_are_unpacked() {
    check_unpack(&[
        ("fd", "0000c03f 0000000000000440", "", "1.5 2.5 13"),
        (">fd", "3fc00000 4004000000000000", "", "1.5 2.5 13"),
        ("f", "cdcc8c3f", "", "1.100000023841858 5"),
        ("f", "0000c0ff", "", "NaN 5"),
    ]);
}

#[test]
fn strings_are_unpacked() {
    let short = "error: t:1: bad argument #2 to 'unpack' (data string too short)";
    let size = "error: t:1: format 'c0' needs a previous size";
    check_unpack(&[
        ("ss", "61626300 64656600", "", r#""abc" "def" 9"#),
        ("s", "616263", "", "error: t:1: unfinished string in data"),
        ("s", "616263", ", 4", "error: t:1: unfinished string in data"),
        ("s", "616263", ", 5", short),
        ("c2c", "616263", "", r#""ab" "c" 4"#),
        ("c4", "616263", "", short),
        ("c0", "616263", "", size),
        ("bc0", "03 61626364", "", r#""abc" 5"#),
        ("bxc0", "03 00 61626364", "", r#""abc" 6"#),
        ("bc0", "04 616263", "", short),
        ("bc0", "ff 616263", "", short),
        ("bc0c0", "01 31 616263", "", r#""a" 4"#),
        ("c1c0", "33 616263", "", r#""abc" 5"#),
        ("c1c0", "78 616263", "", size),
        ("bbc0", "07 02 616263", "", r#"7 "ab" 5"#),
        ("dc0", "000000000000f83f 616263", "", r#""a" 10"#),
        ("dc0", "000000000000f8ff 616263", "", short),
        ("dc0", "9c7500883ce4377e 616263", "", r#""" 9"#),
        ("lc0", "0000000000000000 616263", "", r#""" 9"#),
    ]);
}

#[test]
fn unpacking_begins_anywhere() {
    let short = "error: t:1: bad argument #2 to 'unpack' (data string too short)";
    check_unpack(&[
        ("b", "616263", ", 2", "98 3"),
        ("b", "616263", ", '3'", "99 4"),
        ("b", "616263", ", nil", "97 2"),
        ("b", "616263", ", 4", short),
        ("", "616263", ", 100", "100"),
        (" ", "616263", ", 100", short),
        ("", "616263", ", 0", "error: t:1: bad argument #3 to 'unpack' (offset must be 1 or greater)"),
        ("", "616263", ", -1", "-1"),
        ("x", "616263", ", -1", short),
        ("b", "616263", ", 2^63", short),
        ("!8d", "616263", ", 2^40", short),
        ("b", "616263", ", 'x'", "error: t:1: bad argument #3 to 'unpack' (number expected, got string)"),
        ("z", "616263", "", "error: t:1: bad argument #1 to 'unpack' (invalid format option 'z')"),
        ("i33", "616263", "", "error: t:1: integral size 33 is larger than limit of 32"),
    ]);
    check(&[
        (
            "return struct.unpack('b')",
            "error: t:1: bad argument #2 to 'unpack' (string expected, got no value)",
        ),
        ("return struct.unpack('b', 12)", "49 2"),
    ]);
}

#[test]
fn as_many_values_are_unpacked_as_in_redis() {
    let repeat = "local function repeated(s, n) local t = '' while n > 0 do if n % 2 == 1 then t = t .. s end s = s .. s n = (n - n % 2) / 2 end return t end
        local function count(...) local t = {...} return #t end local data = repeated('a', 9000) ";
    for (expression, expected) in [
        ("count(struct.unpack(repeated('b', 7997), data))", "7998"),
        ("count(struct.unpack(repeated('b', 7998), data))", "error: t:2: stack overflow (too many results)"),
        ("count(struct.unpack(repeated('b', 7996), data, 1))", "7997"),
        (
            "count(struct.unpack(repeated('b', 7997), data, 1))",
            "error: t:2: stack overflow (too many results)",
        ),
        ("count(struct.unpack(repeated('x', 9000), data))", "1"),
    ] {
        assert_eq!(evaluate(&format!("{repeat} return {expression}")), expected, "{expression}");
    }
}
