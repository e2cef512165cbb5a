//! Capture of Burn modules.
