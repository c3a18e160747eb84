//! Two endpoints, message by message.

mod exchanges;
mod redirect;
