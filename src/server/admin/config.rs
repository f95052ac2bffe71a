//! stub
use crate::command::Args; use crate::server::Server; use crate::sys::poller::Token;
impl Server { pub(super) fn config_get(&mut self, t: Token, _a: Args<'_>) { self.reply_to(t).map(0); } pub(super) fn config_set(&mut self, t: Token, _a: Args<'_>) { self.reply_to(t).ok(); } pub(super) fn config_rewrite(&mut self, t: Token) { self.reply_to(t).ok(); } pub(super) fn config_resetstat(&mut self, t: Token) { self.stats.reset(); self.reply_to(t).ok(); } }
