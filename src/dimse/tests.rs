//! Associations over memory: our own requestor against our own acceptor, and bytes against either.
