//! `MODULE`: modules are not supported, so the list is empty and nothing can be loaded.

use crate::command::Args;
use crate::command::error::{Error, Result};
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::text::words::quote;

impl Server {
    /// `MODULE LIST`: an empty array.
    pub(super) fn module_list(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        caller.reply(&mut self.net).array(0);
        Ok(())
    }

    /// `MODULE LOAD path [arg …]` and `LOADEX`: refused. The reply refers to the log, which has the reason.
    pub(super) fn module_load(&mut self, _: &mut Caller<'_>, args: Args<'_>) -> Result {
        let path = quote(args.get(2));
        self.process
            .log
            .warning(format_args!("Module {path} failed to load: there is no interface for modules"));
        Err(Error::new("ERR Error loading the extension. Please check the server logs."))
    }

    /// `MODULE UNLOAD name`: fails for any name.
    pub(super) fn module_unload(_: &mut Server, _: &mut Caller<'_>, _: Args<'_>) -> Result {
        Err(Error::new("ERR Error unloading module: no such module with that name"))
    }
}
