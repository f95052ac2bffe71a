//! Pictures of a made-up server at several sizes.
