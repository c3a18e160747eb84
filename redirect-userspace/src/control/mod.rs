//! Requests and answers on the local control socket.
