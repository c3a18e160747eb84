//! What happened, for people and counters.
