//! Where the world meets the gateway: translate, call the engine, translate back. No decisions here.

pub mod admin;
pub mod dimse_scp;
pub mod http;
pub mod mllp;
pub mod qido;
pub mod stow;
pub mod wado;
