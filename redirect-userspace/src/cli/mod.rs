//! The command lines of both programs.
