//! Rules as Redis 7.2.6 shows them, and calls as it permits them.

use super::*;
use crate::command::table::find;

fn user(modifiers: &str) -> Result<User, Fault> {
    let mut user = User::new(b"bob", false);
    for modifier in join_parentheses(modifiers.split_whitespace().map(str::as_bytes)).expect("parentheses") {
        user.apply(&modifier, false)?;
    }
    Ok(user)
}

fn shown_as(modifiers: &str) -> String {
    String::from_utf8(user(modifiers).expect("valid modifiers").describe()).expect("text")
}

fn check(user: &User, call: &str) -> Result<(), Denial> {
    let args: Vec<&str> = call.split(' ').collect();
    let command = find(args.as_slice()).expect("a command");
    user.check(command, args.as_slice(), &mut Vec::new())
}

#[test]
fn rules_for_commands_are_shown_in_order_without_those_that_a_later_one_overrides() {
    for (rules, text) in [
        ("+@all -get +get", "+@all +get"),
        ("+select|0 +select|1 -select", "-@all -select"),
        ("+config -config|get +config|set +config", "-@all +config"),
        ("+GET +@READ -@read", "-@all +get -@read"),
        ("+@all -@all", "-@all"),
        ("+@all +config|get", "+@all +config|get"),
        ("+select|0 +@connection", "-@all +select|0 +@connection"),
        ("+select|0 +@all", "+@all"),
        ("+@dangerous -config +config|get", "-@all +@dangerous -config +config|get"),
        ("+@read +@write +@read", "-@all +@write +@read"),
        ("+config|get -config|get", "-@all -config|get"),
        ("+client|kill +client|id -client", "-@all -client"),
        ("+subscribe nocommands", "-@all"),
        ("+debug|x", "-@all +debug|x"),
    ] {
        assert_eq!(shown_as(rules), format!("user bob off sanitize-payload resetchannels {text}"), "{rules}");
    }
}

#[test]
fn keys_channels_passwords_and_selectors_are_shown_in_their_order() {
    const HASH: &str = "#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    for (modifiers, text) in [
        (
            "on >x ~a:* %R~b* &ch*",
            &*format!("on sanitize-payload {HASH} ~a:* %R~b* resetchannels &ch* -@all"),
        ),
        ("%RW~* ~x", "off sanitize-payload ~* ~x resetchannels -@all"),
        ("%R~x %W~x", "off sanitize-payload ~x resetchannels -@all"),
        ("%rw~x", "off sanitize-payload ~x resetchannels -@all"),
        ("%R", "off sanitize-payload %R~ resetchannels -@all"),
        ("~a allkeys &a ALLCHANNELS", "off sanitize-payload ~* &* -@all"),
        ("nopass skip-sanitize-payload", "off nopass skip-sanitize-payload resetchannels -@all"),
        (&format!("{HASH} >x"), &format!("off sanitize-payload {HASH} resetchannels -@all")),
        ("nopass >x <x", "off sanitize-payload resetchannels -@all"),
        (
            "(+get ~x &y) (+set)",
            "off sanitize-payload resetchannels -@all (~x resetchannels &y -@all +get) (resetchannels -@all +set)",
        ),
        ("(+get) clearselectors", "off sanitize-payload resetchannels -@all"),
        ("on nopass ~* &* +@all (+get) reset", "off sanitize-payload resetchannels -@all"),
    ] {
        assert_eq!(shown_as(modifiers), format!("user bob {text}"), "{modifiers}");
    }
}

#[test]
fn a_modifier_that_is_none_is_refused_with_its_reason() {
    for (modifiers, fault) in [
        ("+foo", Fault::Unknown),
        ("+@foo", Fault::Unknown),
        ("+get|x|y", Fault::Unknown),
        ("+select|0|1", Fault::Unknown),
        ("+config|nosuch", Fault::Unknown),
        ("-get|x", Fault::Unknown),
        ("+|0", Fault::Unknown),
        ("+select|", Fault::Syntax),
        ("+config|get|x", Fault::FirstArgOfSubcommand),
        ("%Z~x", Fault::Syntax),
        ("%~x", Fault::Syntax),
        ("%RR~x", Fault::Syntax),
        ("%", Fault::Syntax),
        ("foo", Fault::Syntax),
        (")", Fault::Syntax),
        ("(reset)", Fault::Syntax),
        ("((+get))", Fault::Syntax),
        ("~* ~x", Fault::PatternAfterAll),
        ("&* &x", Fault::ChannelAfterAll),
        ("#abc", Fault::BadHash),
        ("!abc", Fault::BadHash),
        ("<x", Fault::UnknownPassword),
    ] {
        assert_eq!(user(modifiers).map(|_| ()), Err(fault), "{modifiers}");
    }
    let mut user = User::new(b"bob", false);
    // In a file these would be other rules.
    assert_eq!(user.apply(b"~a b", false), Err(Fault::Syntax));
    assert_eq!(user.apply(b"+get|x +@all", false), Err(Fault::Syntax));
    assert_eq!(user.apply(b"+get|x\nuser eve on nopass +@all", false), Err(Fault::Syntax));
    assert_eq!(user.apply(b"+get ", false), Err(Fault::Unknown));
    assert_eq!(user.apply(b"", false), Ok(()));
}

#[test]
fn a_parenthesis_must_be_closed() {
    let joined = |words: &str| join_parentheses(words.split(' ').map(str::as_bytes)).map_err(<[u8]>::to_vec);
    assert_eq!(joined("on (+get ~x) off").unwrap(), [&b"on"[..], b"(+get ~x)", b"off"]);
    assert_eq!(joined("on (a (b c) d").unwrap(), [&b"on"[..], b"(a (b c)", b"d"]);
    assert_eq!(joined("on (+get ~x").unwrap_err(), b"(+get");
}

#[test]
fn a_call_needs_its_command_its_keys_and_its_channels() {
    let denied = |reason, index| Err(Denial { reason, index });
    let rules = "~a:* %R~read:* %W~write:* &news.* +@all -config +config|get -select +select|0";
    let user = user(rules).unwrap();
    for (call, outcome) in [
        ("get a:1", Ok(())),
        ("get read:1", Ok(())),
        ("get write:1", denied(Reason::Key, 1)),
        ("set write:1 v", Ok(())),
        ("set write:1 v get", denied(Reason::Key, 1)),
        ("set read:1 v", denied(Reason::Key, 1)),
        ("copy read:1 write:1", Ok(())),
        ("copy write:1 a:1", denied(Reason::Key, 1)),
        ("copy a:1 read:1", denied(Reason::Key, 2)),
        ("mset a:1 v other v", denied(Reason::Key, 3)),
        ("exists other", denied(Reason::Key, 1)),
        ("strlen write:1", Ok(())),
        ("sort read:1 store write:1", Ok(())),
        ("sort read:1 store read:2", denied(Reason::Key, 3)),
        ("eval script 2 a:1 other", denied(Reason::Key, 4)),
        ("eval script 0 other", Ok(())),
        ("config get x", Ok(())),
        ("config set x y", denied(Reason::Command, 0)),
        ("select 0", Ok(())),
        ("select 1", denied(Reason::Command, 0)),
        ("subscribe news.a news.b", Ok(())),
        ("subscribe news.a other", denied(Reason::Channel, 2)),
        ("psubscribe news.*", Ok(())),
        ("psubscribe news.a*", denied(Reason::Channel, 1)),
        ("unsubscribe other", Ok(())),
        ("publish other x", denied(Reason::Channel, 1)),
        ("publish news.a other", Ok(())),
        ("auth x", Ok(())),
    ] {
        assert_eq!(check(&user, call), outcome, "{call}");
    }
}

#[test]
fn a_call_needs_one_selector_that_permits_all_of_it() {
    let user = user("~a +get (~b +set) (~c +@all -get)").unwrap();
    let reason = |call| check(&user, call).map_err(|denial| denial.reason);
    assert_eq!(reason("get a"), Ok(()));
    assert_eq!(reason("set b v"), Ok(()));
    assert_eq!(reason("set c v"), Ok(()));
    assert_eq!(reason("set a v"), Err(Reason::Key));
    assert_eq!(reason("get c"), Err(Reason::Key));
    assert_eq!(reason("subscribe x"), Err(Reason::Channel));
    assert_eq!(check(&user, "mset c v a v"), Err(Denial { reason: Reason::Key, index: 3 }));
    assert!(super::tests::user("~a (allkeys allcommands allchannels)").unwrap().is_unrestricted());
    assert!(!super::tests::user("allkeys allcommands allchannels -get").unwrap().is_unrestricted());
}

#[test]
fn the_text_of_a_denial_names_a_key_only_if_asked() {
    let user = user("~a +get").unwrap();
    let message = |call: &str, names_object| {
        let args: Vec<&str> = call.split(' ').collect();
        let command = find(args.as_slice()).unwrap();
        let denial = check(&user, call).unwrap_err();
        String::from_utf8(denial.message(b"bob", command, args.as_slice(), names_object)).unwrap()
    };
    assert_eq!(message("config get x", false), "User bob has no permissions to run the 'config|get' command");
    assert_eq!(message("get b", false), "No permissions to access a key");
    assert_eq!(message("get b", true), "User bob has no permissions to access the 'b' key");
}

#[test]
fn a_user_that_is_on_authenticates_by_one_of_its_passwords() {
    let mut users = Users::default();
    users.put(user("on >x >y").unwrap());
    let bob = users.find(b"bob");
    assert_ne!(bob, None);
    assert_eq!(users.authenticate(b"bob", b"x"), bob);
    assert_eq!(users.authenticate(b"bob", b"y"), bob);
    for (name, password) in [("bob", "z"), ("bob", ""), ("nobody", "x"), ("", "")] {
        assert_eq!(users.authenticate(name.as_bytes(), password.as_bytes()), None);
    }
    users.put(user("off >x").unwrap());
    assert_eq!(users.authenticate(b"bob", b"x"), None);
    assert_eq!(users.authenticate(DEFAULT, b"whatever"), Some(UserId::DEFAULT));
}

#[test]
fn users_that_are_replaced_keep_their_ids() {
    let mut users = Users::default();
    let named = |name: &str| User::new(name.as_bytes(), false);
    users.put(named("ann"));
    let bob = users.put(named("bob"));
    assert!(users.is_open());
    let mut default = named("default");
    default.apply(b">secret", false).unwrap();
    users.replace(vec![default, named("bob"), named("carl")]);
    assert_eq!(users.iter().len(), 3);
    assert!(!users.is_open());
    assert_eq!((users.find(b"ann"), users.find(b"bob")), (None, Some(bob)));
    users.replace(Vec::new());
    assert_eq!(users.iter().len(), 1);
    assert!(users.is_open() && users.initial_rights().unrestricted);
}

#[test]
fn a_file_is_read_as_it_is_written() {
    let mut users = Users::default();
    users.put(user("on >x ~a:* %R~b &c -@all +@read (+set ~z)").unwrap());
    let text = format_file(&users);
    let read = parse_file("users.acl", &text, true).unwrap();
    let mut again = Users::default();
    again.replace(read);
    assert_eq!(String::from_utf8(format_file(&again)), String::from_utf8(text));
}

#[test]
fn a_file_with_a_fault_is_refused_with_every_fault() {
    const END: &str =
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (text, errors) in [
        ("\n# x\n", "f:2 should start with user keyword followed by the username. "),
        ("user", "f:1 should start with user keyword followed by the username. "),
        (
            "user a on +foo\nuser b on >x +get(\nuser a on\n",
            "f:1: Error in applying operation '+foo': Unknown command or category name in ACL. \
             f:2: Error in applying operation '+get(': Unknown command or category name in ACL. \
             WARNING: Duplicate user 'a' found on line 3. ",
        ),
        ("user a b~x x", "f:1: Syntax error. "),
        ("user a\ton", "'f:1: username 'a\ton' contains invalid characters. "),
        ("user a (+get ~x", "f:1: Unmatched parenthesis in selector definition."),
    ] {
        let found = parse_file("f", text.as_bytes(), false).map(|users| users.len());
        assert_eq!(found.map_err(|e| String::from_utf8(e).unwrap()), Err(format!("{errors}{END}")));
    }
    let users = parse_file("f", b"\n  user a  on (+get  ~x)\r\n", false).unwrap();
    let line = "user a on sanitize-payload resetchannels -@all (~x resetchannels -@all +get)";
    assert_eq!(String::from_utf8(users[0].describe()).unwrap(), line);
}
