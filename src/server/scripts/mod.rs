//! Scripts and functions: what is compiled and kept of them, and how their values become replies. Nothing here knows a
//! connection; the file beside this folder ties it to the server.

pub mod api;
pub mod libraries;
mod registrar;
pub mod shebang;
