//! Reads the files for Compose and Kubernetes, and runs the scripts in them.

use std::path::PathBuf;
use std::process::Command;

use crate::{file, run, tool};

/// Prints the value at a path in a file for Compose or Kubernetes: a text, or the items of a list, each followed by a
/// NUL. A document of several is selected by its kind. Merge keys are resolved, as in Compose's checker.
const VALUE: &str = "
import sys, re, yaml
path, kind, keys = sys.argv[1], sys.argv[2], sys.argv[3:]
text = open(path).read()
if kind == 'compose':
    from compose_spec import PyCompose
    text = re.sub(r'[$][{]REDSTART_PASSWORD:[?][^}]*[}]', 'secret', text)
    value = yaml.safe_load(text)
    plain = type('Plain', (yaml.SafeDumper,), {'ignore_aliases': lambda self, data: True})
    PyCompose.from_yaml(yaml.dump(value, Dumper=plain)).validate()
else:
    value = next(one for one in yaml.safe_load_all(text) if one['kind'] == kind)
for key in keys:
    value = value[int(key) if isinstance(value, list) else key]
if kind == 'compose' and isinstance(value, list):
    value = [item.replace('$$', '$') for item in value]
sys.stdout.write(value if isinstance(value, str) else ''.join(item + chr(0) for item in value))
";

/// The Python interpreter that reads the files.
pub struct Reader(PathBuf);

impl Reader {
    pub fn new() -> Option<Reader> {
        tool("python with compose-spec", &[&["python", "-c", "import compose_spec, yaml"]]).map(Reader)
    }

    pub fn text(&self, path: &str, kind: &str, keys: &str) -> String {
        let mut command = Command::new(&self.0);
        run(command.args(["-c", VALUE]).arg(file(path)).arg(kind).args(keys.split('/')))
    }

    pub fn list(&self, path: &str, kind: &str, keys: &str) -> Vec<String> {
        self.text(path, kind, keys).split_terminator('\0').map(String::from).collect()
    }
}

/// The script of a container, with these replacements.
pub fn script(command: &[String], replacements: &[(&str, &str)]) -> String {
    assert_eq!(command[..2], ["sh", "-euc"], "{command:?}");
    let mut script = command[2].clone();
    for (old, new) in replacements {
        assert!(script.contains(old), "no {old} in {script}");
        script = script.replace(old, new);
    }
    script
}

/// Runs a container's script with these replacements. `name` is the name of its pod.
pub fn run_script(command: &[String], replacements: &[(&str, &str)], name: &str) {
    run(Command::new("sh").args(["-euc", &script(command, replacements)]).envs([
        ("NAME", name),
        ("NAMESPACE", "here"),
        ("REDISCLI_AUTH", "secret"),
    ]));
}
