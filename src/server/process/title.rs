//! The title of the process in `ps`: `set-proc-title`, `proc-title-template`.

use std::os::unix::ffi::OsStrExt;

use crate::config::{Config, expand_title};
use crate::sys::title;

/// Sets the title of the process according to the configuration.
pub fn apply(config: &Config) {
    let program = title::arguments().first().map_or(&[][..], |name| name.as_bytes());
    if let Some(text) = of(config, program) {
        title::set(&text);
    }
}

/// Returns the title of a process that is called `program`, if titles are enabled. A child has its own name:
/// `redis-rdb-bgsave`, `redis-aof-rewrite`.
pub fn of(config: &Config, program: &[u8]) -> Option<Vec<u8>> {
    if !config.set_proc_title {
        return None;
    }
    expand_title(&config.proc_title_template, |name| variable(config, program, name))
}

/// Returns the value of a variable in the template.
fn variable(config: &Config, program: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    Some(match name {
        b"title" => program.to_vec(),
        b"listen-addr" if config.first_port() == 0 => [b"unixsocket:", &config.unixsocket[..]].concat(),
        b"listen-addr" => {
            let host = config.bind.first().map_or("*", String::as_str);
            format!("{host}:{}", config.first_port()).into_bytes()
        }
        b"server-mode" if config.cluster_enabled => b"[cluster]".to_vec(),
        b"server-mode" => Vec::new(),
        b"port" => config.port.to_string().into_bytes(),
        b"tls-port" => config.tls_port.to_string().into_bytes(),
        b"unixsocket" => config.unixsocket.to_vec(),
        b"config-file" => {
            config.file.as_ref().map_or(b"-".to_vec(), |file| file.as_os_str().as_bytes().to_vec())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_the_values_that_redis_puts_into_it() {
        let mut config = Config { port: 7000, ..Config::default() };
        let title = |config: &Config, template: &str| {
            let text = expand_title(template.as_bytes(), |name| variable(config, b"./redstart", name));
            text.map(|text| String::from_utf8(text).unwrap())
        };
        let usual = "{title} {listen-addr} {server-mode}";
        assert_eq!(title(&config, usual).unwrap(), "./redstart *:7000");
        assert_eq!(
            title(&config, " {{x} {port} {tls-port} [{unixsocket}] {config-file}").unwrap(),
            "{x} 7000 0 [] -"
        );
        for wrong in ["{foo}", "{title", "{}"] {
            assert_eq!(title(&config, wrong), None, "{wrong}");
        }
        config.bind = vec!["-::1".into(), "127.0.0.1".into()];
        assert_eq!(title(&config, usual).unwrap(), "./redstart -::1:7000");
        config.bind.clear();
        assert_eq!(title(&config, "{listen-addr}").unwrap(), "*:7000");
        (config.port, config.unixsocket) = (0, "/run/r.sock".into());
        assert_eq!(title(&config, usual).unwrap(), "./redstart unixsocket:/run/r.sock");
    }
}
