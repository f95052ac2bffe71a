//! The text of an ACL file: a line `user <name> <modifier> …` for each user.
//!
//! A file is read as a whole: one faulty line refuses it. The texts of the errors are Redis's.

use super::Users;
use super::fault::Fault;
use super::selector::has_spaces;
use super::user::{User, join_parentheses};

/// Reads the users of a file called `name`.
///
/// # Errors
/// A sentence for each faulty line.
pub fn parse_file(name: &str, text: &[u8], all_channels: bool) -> Result<Vec<User>, Vec<u8>> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let place = format!("{name}:{}", index + 1);
        match parse_line(&place, line, all_channels, &mut errors) {
            Some(user) if users.iter().any(|known| known.name == user.name) => {
                let found = format!("' found on line {}. ", index + 1);
                errors.extend([b"WARNING: Duplicate user '", &*user.name, found.as_bytes()].concat());
            }
            user => users.extend(user),
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(errors)
}

/// Reads a line. The user is returned even if a modifier is refused, since its name is taken.
fn parse_line(place: &str, line: &[u8], all_channels: bool, errors: &mut Vec<u8>) -> Option<User> {
    let mut words = line.split(|byte| *byte == b' ').map(<[u8]>::trim_ascii);
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
        let fault = format!("{place} should start with user keyword followed by the username. ");
        errors.extend(fault.into_bytes());
        return None;
    };
    if has_spaces(name) {
        let start = format!("'{place}: username '");
        errors.extend([start.as_bytes(), name, b"' contains invalid characters. "].concat());
        return None;
    }
    let mut user = User::new(name, all_channels);
    let Ok(modifiers) = join_parentheses(words) else {
        // The word that opens the parenthesis could be meant as a password.
        errors.extend(format!("{place}: Unmatched parenthesis in selector definition.").into_bytes());
        return Some(user);
    };
    let mut has_fault = false;
    for modifier in &modifiers {
        let Err(fault) = user.apply(modifier, all_channels) else { continue };
        if fault == Fault::Unknown {
            // A wrong name of a command is not secret.
            let start = format!("{place}: Error in applying operation '");
            errors.extend([start.as_bytes(), modifier, format!("': {fault}. ").as_bytes()].concat());
        } else if !std::mem::replace(&mut has_fault, true) {
            // A modifier after another fault may be refused only because of that.
            errors.extend(format!("{place}: {fault}. ").into_bytes());
        }
    }
    Some(user)
}

/// Parses the name and the modifiers of a `user` line in a configuration file.
///
/// # Errors
/// Why the first faulty modifier is refused. The text quotes it only if it cannot be a password.
pub fn parse_user<'a>(
    name: &[u8],
    modifiers: impl IntoIterator<Item = &'a [u8]>,
    all_channels: bool,
) -> Result<User, String> {
    if has_spaces(name) {
        return Err("Usernames can't contain spaces or null characters".into());
    }
    // The error does not quote the word with the parenthesis: it could be a password.
    let modifiers =
        join_parentheses(modifiers).map_err(|_| "Unmatched parenthesis in selector definition".to_owned())?;
    let mut user = User::new(name, all_channels);
    for modifier in &modifiers {
        user.apply(modifier, all_channels).map_err(|fault| match fault {
            Fault::Unknown => format!("Error in user declaration '{}': {fault}", modifier.escape_ascii()),
            _ => format!("Error in user declaration: {fault}"),
        })?;
    }
    Ok(user)
}

/// The text of a file with all users.
pub fn format_file(users: &Users) -> Vec<u8> {
    let mut text = Vec::new();
    for user in users.iter() {
        text.extend(user.describe());
        text.push(b'\n');
    }
    text
}
