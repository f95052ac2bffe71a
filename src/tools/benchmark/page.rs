//! Results as one page.
use super::options::Options;
use super::report::Measured;
use super::subject::Subject;
/// The page.
pub fn document(_: &Options, _: &str, _: &[Subject], _: &[Measured]) -> String {
    String::new()
}
