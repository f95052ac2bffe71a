//! ACL on a running server: users from files, what happens to clients when their rights change, and secrets.

mod support;

use support::{Client, Launch, Server, Value, eventually};

/// A client that has logged in as this user with the password `pw`.
fn client_of(server: &Server, user: &str) -> Client {
    let mut client = server.client();
    client.ok(&format!("AUTH {user} pw"));
    client
}

fn texts(client: &mut Client, line: &str) -> Vec<String> {
    client.run(line).elements().iter().map(Value::text).collect()
}

fn waits_for_blocked(admin: &mut Client) {
    admin.wait_for_info("blocked_clients", |count| count == 1);
}

#[test]
fn a_blocked_client_is_checked_again_when_its_key_arrives() {
    let server = Server::start("");
    let mut admin = server.client();
    for change in ["-blpop", "resetkeys"] {
        admin.ok("ACL SETUSER bob reset on >pw ~b:* +blpop +ping");
        let mut bob = client_of(&server, "bob");
        bob.send(&["BLPOP", "b:list", "0"]).expect("send");
        waits_for_blocked(&mut admin);
        admin.ok(&format!("ACL SETUSER bob {change}"));
        admin.run("RPUSH b:list x");
        let reply = bob.read_reply().expect("a reply").value.text();
        assert!(reply.starts_with("NOPERM "), "{reply}");
        assert_eq!(texts(&mut admin, "LRANGE b:list 0 -1"), ["x"], "the element is still there");
        assert_eq!(bob.run("PING").text(), "PONG");
        admin.run("DEL b:list");
    }
}

#[test]
fn the_clients_of_a_deleted_user_are_closed_and_nobody_else() {
    let server = Server::start("");
    let mut admin = server.client();
    admin.ok("ACL SETUSER bob on >pw +@all ~*");
    admin.ok("ACL SETUSER eve on >pw +@all ~*");
    let (mut bob, mut blocked, mut queued) =
        (client_of(&server, "bob"), client_of(&server, "bob"), client_of(&server, "bob"));
    let mut eve = client_of(&server, "eve");
    queued.ok("MULTI");
    queued.run("SET k v");
    blocked.send(&["BLPOP", "list", "0"]).expect("send");
    waits_for_blocked(&mut admin);
    // The client that deletes its own user gets the reply.
    assert_eq!(bob.run("ACL DELUSER bob").integer(), 1);
    for client in [&mut bob, &mut blocked, &mut queued] {
        assert_eq!(client.wait_closed(), b"");
    }
    assert_eq!(eve.run("PING").text(), "PONG");
    assert!(eve.run("GET k").is_null());
    assert_eq!(admin.info_number("connected_clients"), 2);
    // A new user of the same name is another one.
    admin.ok("ACL SETUSER bob on >other");
    assert!(server.client().run("AUTH bob pw").is_error());
}

#[test]
fn clients_with_subscriptions_that_are_no_longer_allowed_are_closed() {
    let server = Server::start("");
    let mut admin = server.client();
    admin.ok("ACL SETUSER bob on >pw &news:* &chat:* +@pubsub +ping");
    let subscribed = |line: &str| {
        let mut client = client_of(&server, "bob");
        client.run(line);
        client
    };
    let (mut channel, mut pattern, mut shard) =
        (subscribed("SUBSCRIBE news:1"), subscribed("PSUBSCRIBE news:*"), subscribed("SSUBSCRIBE news:1"));
    let mut stays = subscribed("SUBSCRIBE chat:1");
    let mut idle = client_of(&server, "bob");
    admin.ok("ACL SETUSER bob &more:*");
    admin.ok("ACL SETUSER bob resetchannels &chat:*");
    for client in [&mut channel, &mut pattern, &mut shard] {
        client.wait_closed();
    }
    assert_eq!(admin.run("PUBLISH chat:1 hello").integer(), 1);
    assert_eq!(stays.read_reply().expect("the message").value.elements()[2].text(), "hello");
    assert_eq!(idle.run("PING").text(), "PONG");
}

#[test]
fn a_changed_password_of_the_default_user_concerns_new_clients_alone() {
    let server = Server::start("--requirepass first");
    let (mut admin, mut stranger) = (server.client(), server.client());
    assert!(stranger.run("PING").text().starts_with("NOAUTH"));
    admin.ok("AUTH first");
    admin.ok("ACL SETUSER default nopass");
    assert_eq!(stranger.run("PING").text(), "PONG");
    admin.ok("CONFIG SET requirepass second");
    // It never logged in.
    assert!(stranger.run("PING").text().starts_with("NOAUTH"));
    assert_eq!(admin.run("PING").text(), "PONG");
    stranger.ok("AUTH second");
    admin.ok("ACL SETUSER default off");
    assert_eq!(stranger.run("PING").text(), "PONG");
    assert!(server.client().run("PING").text().starts_with("NOAUTH"));
    admin.ok("ACL SETUSER default on");
}

const USERS: &str = "user default on nopass ~* &* +@all\n\n  user bob on #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 ~b:* +get (~c:* +set)\n";

#[test]
fn users_come_from_an_acl_file_and_return_to_it() {
    let launch = Launch::subject().file("users.acl", USERS).config("aclfile users.acl\n");
    let server = launch.start();
    let mut admin = server.client();
    assert_eq!(texts(&mut admin, "ACL USERS"), ["bob", "default"]);
    let mut bob = client_of(&server, "bob");
    assert!(bob.run("GET b:1").is_null());
    admin.ok("ACL SETUSER eve on >pw ~e:* +@all");
    admin.ok("ACL SAVE");
    let listed = texts(&mut admin, "ACL LIST");
    let path = server.directory().join("users.acl");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), listed.join("\n") + "\n");
    // CONFIG REWRITE leaves users to the file.
    admin.ok("CONFIG REWRITE");
    let config = std::fs::read_to_string(server.directory().join("redstart.conf")).expect("the file");
    assert!(config.contains("aclfile") && !config.lines().any(|line| line.starts_with("user ")), "{config}");
    let server = server.stop().start();
    let mut admin = server.client();
    assert_eq!(texts(&mut admin, "ACL LIST"), listed);
    // ACL LOAD ends the clients of all users but the default one: their passwords may have changed.
    let (mut bob, mut eve) = (client_of(&server, "bob"), client_of(&server, "eve"));
    std::fs::write(&path, USERS).expect("write");
    admin.ok("ACL LOAD");
    bob.wait_closed();
    eve.wait_closed();
    assert_eq!(texts(&mut admin, "ACL USERS"), ["bob", "default"]);
}

#[test]
fn a_faulty_acl_file_changes_nothing() {
    let server = Launch::subject().file("users.acl", USERS).config("aclfile users.acl\n").start();
    let mut admin = server.client();
    let before = texts(&mut admin, "ACL LIST");
    let path = server.directory().join("users.acl");
    for (line, why) in [
        ("user carol on +nosuch", "Unknown command or category name in ACL"),
        ("user carol on >pw foo", "Syntax error"),
        ("usr carol on", "should start with user keyword"),
        ("user carol on (~a", "Unmatched parenthesis"),
        ("user bob on", "Duplicate user 'bob' found on line 4"),
    ] {
        std::fs::write(&path, format!("{USERS}{line}\n")).expect("write");
        let reply = admin.run("ACL LOAD").text();
        assert!(reply.contains(why) && (reply.contains(":4") || reply.contains("line 4")), "{line}: {reply}");
        assert!(!reply.contains(">pw"), "{reply}");
        assert_eq!(texts(&mut admin, "ACL LIST"), before, "{line}");
    }
    std::fs::remove_file(&path).expect("remove");
    let reply = admin.run("ACL LOAD").text();
    assert!(reply.contains("users.acl") && reply.contains("No such file"), "{reply}");
    assert_eq!(texts(&mut admin, "ACL LIST"), before);
}

#[test]
fn a_server_does_not_start_with_users_that_it_does_not_understand() {
    let user = "user bob on >secret-word ~b:* +get\n";
    for (launch, why) in [
        (Launch::subject().config("aclfile nowhere.acl\n"), "nowhere.acl"),
        (
            Launch::subject().file("users.acl", "user bob +nosuch\n").config("aclfile users.acl\n"),
            "users.acl:1",
        ),
        (
            Launch::subject().file("users.acl", USERS).config(&format!("aclfile users.acl\n{user}")),
            "but not both",
        ),
        (
            Launch::subject().config("user bob on >secret-word +nosuch\n"),
            "Unknown command or category name in ACL",
        ),
        (Launch::subject().config("user bob on >secret-word ?\n"), "Syntax error"),
        (Launch::subject().config("user bob on (>secret-word\n"), "Unmatched parenthesis"),
        (Launch::subject().config("user \"bob on >secret-word\"\n"), "can't contain spaces"),
        (Launch::subject().config(&format!("{user}{user}")), "Duplicate user"),
    ] {
        let (status, output) = launch.run_to_exit();
        assert!(!status.success() && output.contains(why), "{why}: {output}");
        assert!(!output.contains("secret-word"), "{output}");
    }
}

#[test]
fn users_of_the_configuration_file_survive_a_rewrite() {
    let launch = Launch::subject().config("user bob on >secret-word ~b:* +get\nrequirepass hidden-word\n");
    let server = launch.start();
    let mut admin = server.client();
    admin.ok("AUTH hidden-word");
    admin.ok("ACL SETUSER bob +set ~it\"s");
    admin.ok("ACL SETUSER eve on >another-word allkeys (~x +@read)");
    admin.ok("CONFIG REWRITE");
    let listed = texts(&mut admin, "ACL LIST");
    let launch = server.stop();
    let server = launch.start();
    let mut admin = server.client();
    admin.ok("AUTH hidden-word");
    assert_eq!(texts(&mut admin, "ACL LIST"), listed);
    assert!(listed.iter().any(|line| line.contains("~it\"s")), "{listed:?}");
    let text = std::fs::read_to_string(server.directory().join("redstart.conf")).expect("the file");
    assert!(
        text.contains("user eve ") && !text.contains("secret-word") && !text.contains("another-word"),
        "{text}"
    );
}

#[test]
fn passwords_appear_nowhere() {
    let server = Server::start("--slowlog-log-slower-than 0 --loglevel debug");
    let (mut admin, mut monitor) = (server.client(), server.client());
    monitor.ok("MONITOR");
    for line in [
        "ACL SETUSER bob on >secret-word +@all ~*",
        "AUTH bob secret-word",
        "AUTH bob secret-word2",
        "HELLO 3 AUTH bob secret-word",
        "CONFIG SET requirepass secret-word masterauth secret-word",
        "ACL GETUSER bob",
        "ACL SETUSER bob nosuch>secret-word",
        "ACL DRYRUN bob GET k",
    ] {
        admin.run(line);
    }
    for line in ["SLOWLOG GET 100", "ACL LOG", "ACL LIST", "INFO everything", "CLIENT LIST", "LATENCY LATEST"]
    {
        let reply = format!("{:?}", admin.run(line));
        assert!(!reply.contains("secret-word"), "{line}: {reply}");
    }
    admin.run("ECHO end");
    let mut seen = String::new();
    while !seen.contains("\"end\"") {
        seen += &monitor.read_reply().expect("a line").value.text();
    }
    assert!(!seen.contains("secret-word"), "{seen}");
    assert!(!server.log().contains("secret-word"));
}

#[test]
fn a_function_runs_with_the_rights_of_its_caller() {
    let server = Server::start("");
    let mut admin = server.client();
    let code = "#!lua name=lib\nredis.register_function('f', function(keys) return redis.call('get', keys[1]) end)\n\
                redis.register_function('other', function() return redis.call('get', 'c:1') end)";
    admin.call(&["FUNCTION", "LOAD", code]);
    admin.ok("SET b:1 x");
    admin.ok("ACL SETUSER bob on >pw ~b:* +fcall +get");
    let mut bob = client_of(&server, "bob");
    assert_eq!(bob.run("FCALL f 1 b:1").text(), "x");
    let refused = bob.run("FCALL other 0").text();
    assert!(refused.starts_with("ERR ACL failure in script: No permissions to access a key"), "{refused}");
    admin.ok("ACL SETUSER bob -get");
    let refused = bob.run("FCALL f 1 b:1").text();
    assert!(refused.contains("User bob has no permissions to run the 'get' command"), "{refused}");
}

#[test]
fn the_log_shows_what_was_denied_to_whom_and_how_often() {
    let server = Server::start("--acllog-max-len 5");
    let mut admin = server.client();
    admin.ok("ACL SETUSER bob on >pw ~b:* &ch* +get +multi +exec +eval +publish");
    let mut bob = server.client();
    for line in ["AUTH bob wrong", "auth bob wrong", "HELLO 3 AUTH nobody pw"] {
        assert!(bob.run(line).text().starts_with("WRONGPASS"), "{line}");
    }
    bob.ok("AUTH bob pw");
    for line in ["GET c:1", "GET c:1", "SET b:1 x", "PUBLISH other x"] {
        assert!(bob.run(line).text().starts_with("NOPERM"), "{line}");
    }
    assert!(bob.call(&["EVAL", "return redis.call('get', 'c:1')", "0"]).is_error());
    bob.ok("MULTI");
    assert!(bob.run("GET c:2").is_error());
    assert!(bob.run("EXEC").text().starts_with("EXECABORT"));
    let shape = |entry: &Value| {
        let field = |name: &str| entry.field(name).text();
        let names = ["entry-id", "count", "reason", "context", "object", "username"];
        names.map(field).join(" ")
    };
    let log = admin.run("ACL LOG 10").elements();
    let expected = [
        "7 1 key multi c:2 bob",
        "6 1 key lua c:1 bob",
        "5 1 channel toplevel other bob",
        "4 1 command toplevel set bob",
        "3 2 key toplevel c:1 bob",
    ];
    assert_eq!(log.iter().map(shape).collect::<Vec<_>>(), expected);
    let client = log[0].field("client-info").text();
    assert!(client.contains(" cmd=get user=bob ") && client.contains(" flags=x "), "{client}");
    for (reason, count) in [("auth", 3), ("cmd", 1), ("key", 4), ("channel", 1)] {
        assert_eq!(admin.info_number(&format!("acl_access_denied_{reason}")), count, "{reason}");
    }
    assert_eq!(admin.run("ACL LOG 1").elements().len(), 1);
    admin.ok("ACL LOG RESET");
    assert!(admin.run("ACL LOG").elements().is_empty());
}

#[test]
fn a_long_subscription_does_not_go_on_to_channels_that_are_no_longer_allowed() {
    let server = Server::start("");
    let mut admin = server.client();
    let names: Vec<String> = (0..100_000).map(|n| format!("a{n}")).collect();
    for word in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        // A pattern is permitted by itself alone.
        let rules: String = if word == "PSUBSCRIBE" { "&a1 &b1" } else { "&a* &b1" }.into();
        admin.ok(&format!("ACL SETUSER bob reset on >pw +@pubsub {rules}"));
        let mut bob = client_of(&server, "bob");
        let name = |n: usize| if word == "PSUBSCRIBE" { "a1" } else { &*names[n] };
        let call: Vec<&str> = [word].into_iter().chain((0..names.len()).map(name)).chain(["b1"]).collect();
        bob.send(&call).expect("send");
        eventually("the first names are subscribed", || {
            admin.run("CLIENT LIST TYPE pubsub").text().contains("user=bob").then_some(())
        });
        admin.ok(&format!("ACL SETUSER bob resetchannels {}", rules.replace(" &b1", "")));
        bob.wait_closed();
        assert_eq!(admin.run("PUBLISH b1 x").integer() + admin.run("SPUBLISH b1 x").integer(), 0, "{word}");
    }
}

#[test]
fn subscriptions_of_an_earlier_user_end_when_the_present_one_changes() {
    let server = Server::start("");
    let mut admin = server.client();
    for (user, channel) in [("bob", "one"), ("eve", "two")] {
        admin.ok(&format!("ACL SETUSER {user} on >pw &{channel} +@pubsub +@connection"));
    }
    let mut client = server.client();
    client.run("HELLO 3 AUTH bob pw");
    client.run("SUBSCRIBE one");
    client.ok("AUTH eve pw");
    admin.ok("ACL SETUSER eve on");
    client.wait_closed();
}
