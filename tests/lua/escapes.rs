//! Attacks on the engine: known ways out of the sandbox or into memory.
